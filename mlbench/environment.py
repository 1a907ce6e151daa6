"""What a reader needs to know to judge a number: versions, device, commit, command and times (env.json)."""

import json
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("mlbench", "torch", "torchvision", "numpy", "scipy", "scikit-learn", "hydra-core", "omegaconf")


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def outdated(folder: Path, files: list[Path]) -> str:
    """Why a run could have other results today, in a few words: by its code, or by its data `files`; empty if not."""
    if not same_code(folder):
        return "by another commit of mlbench"
    return "" if same_files(folder, files) else "its data has changed since"


def same_code(folder: Path) -> bool:
    """Whether a run was made by the commit that runs now; true where that is not known."""
    try:
        made_by = json.loads((folder / "env.json").read_text(encoding="utf-8")).get("git_commit")
    except (OSError, ValueError):
        return True
    return made_by is None or (now_by := git_commit()) is None or made_by == now_by


def same_files(folder: Path, files: list[Path]) -> bool:
    """Whether a run's data files are no newer than its beginning; true where that is not known."""
    begun = folder / "config.yaml"
    return not begun.exists() or all(path.stat().st_mtime <= begun.stat().st_mtime for path in files if path.exists())


def environment(device: torch.device, folder: Path) -> dict[str, Any]:
    """What a reader needs to judge a number: versions, device, commit, command, and when a run was resumed."""
    before = {}
    if (folder / "env.json").exists():
        before = json.loads((folder / "env.json").read_text(encoding="utf-8"))
    resumed = [*before.get("resumed", []), now()] if before else []
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "versions": {"python": platform.python_version(), **versions},
        "device": str(device),
        "device_name": name,
        "threads": torch.get_num_threads(),
        "git_commit": git_commit(),
        "command": before.get("command", sys.argv),
        "started": before.get("started", now()),
        **({"resumed": resumed} if resumed else {}),
    }


def git_commit() -> str | None:
    """The commit of mlbench's own checkout, `+changes` when it is not clean; None for an installed package."""
    here = Path(__file__).resolve().parent.parent
    if not (here / ".git").exists():
        return None
    try:
        ask = lambda *words: subprocess.run(  # noqa: E731
            ["git", *words], cwd=here, capture_output=True, text=True, check=True, timeout=5
        ).stdout.strip()
        return ask("rev-parse", "HEAD") + ("+changes" if ask("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return None
