"""The config groups and their entries, read from the YAML files alone."""

import os
from pathlib import Path

from mlbench.core.user_path import user_path

FAMILIES = ("lifelong", "compress", "explain")
CHOICES = ("data", "model", "train", *FAMILIES, "logger")  # the nodes of a composed config
# settings that change where and how fast a run is made, not what comes out
RUNNING = ("out", "force", "device", "threads", "resume", "logger")
GROUPS = ("data", "model", *FAMILIES, "experiment", "train", "logger")


def conf_folder() -> Path:
    """The folder with config.yaml: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    return next(place for place in (package / "conf", package.parent / "conf") if (place / "config.yaml").is_file())


def data_dir() -> Path:
    """The default data directory."""
    return user_path(os.environ.get("MLBENCH_DATA") or "~/.cache/mlbench")


def entries(group: str, conf: Path | None = None) -> dict[str, str]:
    """Name -> first comment line of each YAML of a group, in the folder `conf` or, if None, in mlbench's own."""
    folder = (conf or conf_folder()) / group
    return {path.stem: first_comment(path) for path in sorted(folder.glob("*.yaml"))}


def first_comment(path: Path) -> str:
    """The first comment of a YAML file that is not a directive."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#") and not line.startswith("# @package"):
            return line.lstrip("# ")
    return ""
