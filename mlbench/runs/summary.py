"""The summary and the config of a run, read from its folder."""

import json
from pathlib import Path
from typing import Any

import yaml

from mlbench.core.errors import UserError

# libyaml's reader is ten times faster, and not on every machine
Reader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_summary(folder: Path) -> dict[str, Any] | None:
    """summary.json of a run folder; None when the run has not finished. Raises UserError when it is broken."""
    path = folder / "summary.json"
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error})") from error


def read_config(path: Path) -> Any:
    """A run's config.yaml as plain values. Raises OSError or yaml.YAMLError."""
    return yaml.load(path.read_text(encoding="utf-8"), Loader=Reader)
