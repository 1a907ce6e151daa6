"""Provenance of the numbers of a run: versions, device, commit, command and times (env.json)."""

import hashlib
import json
import platform
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from mlbench.core.errors import UserError
from mlbench.core.input_files import read_json
from mlbench.runs import layout

PACKAGES = ("mlbench", "torch", "torchvision", "numpy", "scipy", "scikit-learn", "hydra-core", "omegaconf")


def now() -> str:
    """Return the time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def outdated(folder: Path, inputs: list[Path]) -> str:
    """Return why a run could have other results today (its code, a file that it reads); empty if there is no reason."""
    if not (before := recorded(folder)):
        return ""
    made_by, now_by = [part.get("git_commit") for part in (before, *before.get("resumed_by", []))], git_commit()
    if now_by is not None and any(commit not in (None, now_by) for commit in made_by):
        return "by another commit of mlbench"
    changed = before.get("inputs", "") not in ("", fingerprint(inputs))
    return "a file that it was made from has changed since" if changed else ""


def recorded(folder: Path) -> dict[str, Any]:
    """What env.json of a run says; nothing where it is missing or broken: the run is then as one that begins."""
    try:
        content = read_json(folder / layout.ENVIRONMENT)
    except (OSError, UserError):
        return {}
    kinds = {"versions": dict, "resumed": list, "resumed_by": list, "inputs": str, "command": list, "started": str}
    right = isinstance(content, dict) and all(
        isinstance(content.get(name, kind()), kind) for name, kind in kinds.items()
    )
    return content if right and all(isinstance(part, dict) for part in content.get("resumed_by", [])) else {}


def fingerprint(inputs: Iterable[Path]) -> str:
    """Return a hash of names, sizes and modification times of files and of all files in folders."""
    files = (file for path in inputs for file in (sorted(path.rglob("*")) if path.is_dir() else [path]))
    states = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file()]
    return hashlib.sha256(json.dumps(states).encode()).hexdigest()[:16]


def environment(device: torch.device, folder: Path, inputs: Iterable[Path]) -> dict[str, Any]:
    """Return the content of env.json: versions, device, commit, command, and when and by which code it was resumed.

    Device and threads are those of this process, the rest those of the beginning of the run.

    Args:
        device: The device that the run computes on.
        folder: The folder of the run.
        inputs: Files and folders that the run reads.
    """
    before = recorded(folder)
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    code = {"versions": versions, "git_commit": git_commit()}
    resumed = {}
    if before:
        resumed = {"resumed": [*before.get("resumed", []), now()], "resumed_by": [*before.get("resumed_by", []), code]}
    return {
        **{name: before.get(name, value) for name, value in code.items()},
        "device": str(device),
        "device_name": name,
        "threads": torch.get_num_threads(),
        "inputs": before.get("inputs", fingerprint(inputs)),
        "command": before.get("command", sys.argv),
        "started": before.get("started", now()),
        **resumed,
    }


@cache  # two processes of git for each job of a sweep would take longer than a small job
def git_commit() -> str | None:
    """Return the commit of this checkout, with `+changes` if it is not clean; None for an installed package."""
    here = Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return None
    try:
        ask = lambda *words: subprocess.run(  # noqa: E731
            ["git", *words], cwd=here, capture_output=True, text=True, check=True, timeout=5
        ).stdout.strip()
        return ask("rev-parse", "HEAD") + ("+changes" if ask("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return None
