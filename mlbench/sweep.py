"""What a sweep remembers of its jobs, and the table at its end. Reads and writes only files."""

import json
import shutil
import sys
from pathlib import Path

from rich.console import Console

from mlbench import report
from mlbench.catalogue import FAMILIES
from mlbench.errors import RunError, UserError
from mlbench.files import write_text


def record(sweep: Path, folder: Path | None, overrides: list[str], error: Exception | None) -> None:
    """Note how a job of the sweep ended; jobs of several processes append to one file."""
    label = " ".join(item for item in overrides if not item.startswith("seed=")) or "default"
    failure = None if error is None else {"kind": type(error).__name__, "message": str(error)}
    line = {"folder": str(folder.resolve()) if folder else None, "label": label, "failure": failure}
    with (sweep / "jobs.jsonl").open("a", encoding="utf-8") as jobs:
        jobs.write(json.dumps(line) + "\n")


def conclude(sweep: Path) -> None:
    """Print the table over all finished jobs and write it beside the list of jobs; remove a sweep that never began.

    Raises UserError or RunError when jobs failed, after the others' results are safe.
    """
    if not (sweep / "jobs.jsonl").exists():
        shutil.rmtree(sweep, ignore_errors=True)
        for folder in (sweep.parent, sweep.parent.parent):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
        return
    jobs = [json.loads(line) for line in (sweep / "jobs.jsonl").read_text(encoding="utf-8").splitlines()]
    found = ((job["label"], report.read_summary(Path(job["folder"]))) for job in jobs if job["folder"])
    groups = report.grouped((label, summary) for label, summary in shortened(list(found)) if summary)
    if groups:
        Console(width=None if sys.stdout.isatty() else 160).print(report.sweep_table(groups))
        for path in report.write_sweep(groups, sweep):
            print(path)
    failures = [job for job in jobs if job["failure"]]
    if failures:
        lines = "".join(f"{job['label']}: {job['failure']['message']}\n" for job in failures)
        write_text(sweep / "failures.txt", lines)
        kind = UserError if all(job["failure"]["kind"] == "UserError" for job in failures) else RunError
        raise kind(f"{len(failures)} of {len(jobs)} jobs failed; see {sweep / 'failures.txt'}")


def shortened(runs: list[tuple[str, dict | None]]) -> list[tuple[str, dict | None]]:
    """Labels without the settings that all jobs share; the technique's name always stays."""
    shared = set.intersection(*(set(label.split(" ")) for label, _ in runs)) if runs else set()
    named = []
    for label, summary in runs:
        own = [told(item) for item in label.split(" ") if item not in shared or told(item) != item]
        named.append((" ".join(own) or label, summary))
    return named


def told(item: str) -> str:
    """`lifelong=gem` as `gem`; other settings as they are."""
    group, _, name = item.partition("=")
    return name if group in FAMILIES else item
