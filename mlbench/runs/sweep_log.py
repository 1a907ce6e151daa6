"""What a sweep remembers of its jobs: one line each in jobs.jsonl."""

import fcntl
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlbench.runs import layout
from mlbench.runs.settings import label_of


def write_job(sweep: Path, number: int, folder: Path | None, overrides: list[str], error: Exception | None) -> None:
    """Note how a job of the sweep ended; jobs of several processes, also on several machines, append to one file."""
    label = label_of(overrides)
    failure = None if error is None else {"kind": type(error).__name__, "message": str(error)}
    place = str(folder.resolve()) if folder else None
    entry = {"number": number, "job": " ".join(overrides), "folder": place, "label": label, "failure": failure}
    line = json.dumps(entry).encode() + b"\n"
    with (sweep / layout.JOBS).open("ab+") as jobs:
        fcntl.flock(jobs, fcntl.LOCK_EX)
        if jobs.seek(0, os.SEEK_END):
            jobs.seek(-1, os.SEEK_END)
            line = line if jobs.read(1) == b"\n" else b"\n" + line  # after one that was killed while it wrote
        jobs.write(line)


def read_jobs(sweep: Path) -> list[dict[str, Any]]:
    """What is known of each job, in the order of the sweep; of one that a cluster started twice, the latter."""
    jobs = {}
    for line in (sweep / layout.JOBS).read_text(encoding="utf-8").splitlines():
        with suppress(ValueError):  # half a line
            job = json.loads(line)
            jobs[job["number"]] = job
    return [jobs[number] for number in sorted(jobs)]


def missing_folders(folder: Path) -> list[Path]:
    """Those of `folder` and of the folders that it lies in that are not there yet, the innermost first."""
    return [place for place in (folder, *folder.parents) if not place.exists()]
