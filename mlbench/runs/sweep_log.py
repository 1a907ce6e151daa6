"""The log of a sweep's jobs, jobs.jsonl: one line per job."""

import fcntl
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlbench.core.atomic_io import open_to_append
from mlbench.runs import layout
from mlbench.runs.settings import label_of


def write_job(sweep: Path, number: int, folder: Path | None, overrides: list[str], error: Exception | None) -> None:
    """Append to the log how a job ended; processes on several machines may write to one log.

    Args:
        sweep: the sweep's folder.
        number: the job's number in the sweep.
        folder: the folder of its run; None where it has none.
        overrides: the settings of the job, as on the command line.
        error: what went wrong; None for a job that succeeded.
    """
    label = label_of(overrides)
    failure = None if error is None else {"kind": type(error).__name__, "message": str(error)}
    place = str(folder.resolve()) if folder else None
    entry = {"number": number, "job": " ".join(overrides), "folder": place, "label": label, "failure": failure}
    line = json.dumps(entry).encode() + b"\n"
    with open_to_append(sweep / layout.JOBS) as jobs:
        fcntl.flock(jobs, fcntl.LOCK_EX)
        if jobs.seek(0, os.SEEK_END):
            jobs.seek(-1, os.SEEK_END)
            line = line if jobs.read(1) == b"\n" else b"\n" + line  # after one that was killed while it wrote
        jobs.write(line)
        jobs.flush()
        os.fsync(jobs.fileno())


def read_jobs(sweep: Path) -> list[dict[str, Any]]:
    """Read the log: an entry per job, in the order of the sweep; of a job that was started twice, the later one."""
    jobs = {}
    for line in (sweep / layout.JOBS).read_text(encoding="utf-8").splitlines():
        with suppress(ValueError):  # half a line
            job = json.loads(line)
            jobs[job["number"]] = job
    return [jobs[number] for number in sorted(jobs)]


def missing_folders(folder: Path) -> list[Path]:
    """Those of `folder` and of the folders that it lies in that are not there yet, the innermost first."""
    return [place for place in (folder, *folder.parents) if not place.exists()]
