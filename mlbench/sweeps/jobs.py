"""What a sweep remembers of its jobs, and what it says at its end. Reads and writes only files."""

import fcntl
import json
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from mlbench import summaries
from mlbench.catalogue import FAMILIES, RUNNING
from mlbench.errors import RunError, UserError
from mlbench.files import write_text
from mlbench.summaries import Finished

UNLABELLED = ("seed", "out", "force", "logger")  # tell no setting from another
# settings in which a run may differ from the joint run that it is compared with
NOT_COMPARED = ("lifelong", "reference", *RUNNING)


def record(sweep: Path, number: int, folder: Path | None, overrides: list[str], error: Exception | None) -> None:
    """Note how a job of the sweep ended; jobs of several processes, also on several machines, append to one file."""
    label = " ".join(item for item in overrides if item.partition("=")[0] not in UNLABELLED) or "default"
    failure = None if error is None else {"kind": type(error).__name__, "message": str(error)}
    place = str(folder.resolve()) if folder else None
    told = {"number": number, "job": " ".join(overrides), "folder": place, "label": label, "failure": failure}
    line = json.dumps(told).encode() + b"\n"
    with (sweep / "jobs.jsonl").open("ab+") as jobs:
        fcntl.flock(jobs, fcntl.LOCK_EX)
        if jobs.seek(0, os.SEEK_END):
            jobs.seek(-1, os.SEEK_END)
            line = line if jobs.read(1) == b"\n" else b"\n" + line  # after one that was killed while it wrote
        jobs.write(line)


def recorded(sweep: Path) -> list[dict[str, Any]]:
    """What is known of each job, in the order of the sweep; of one that a cluster started twice, the latter."""
    jobs = {}
    for line in (sweep / "jobs.jsonl").read_text(encoding="utf-8").splitlines():
        with suppress(ValueError):  # half a line
            job = json.loads(line)
            jobs[job["number"]] = job
    return [jobs[number] for number in sorted(jobs)]


def missing(folder: Path) -> list[Path]:
    """Those of `folder` and of the folders that it lies in that are not there yet, the innermost first."""
    return [place for place in (folder, *folder.parents) if not place.exists()]


def conclude(sweep: Path, made: list[Path]) -> None:
    """Print the table over all finished jobs and write it beside the list of jobs; remove a sweep that never began.

    `made` are the folders that were `missing` before the sweep: no others are removed, whatever they hold. Raises
    UserError or RunError when jobs failed, after the others' results are safe.
    """
    if not (sweep / "jobs.jsonl").exists():
        if sweep in made:
            shutil.rmtree(sweep, ignore_errors=True)
        for folder in made:
            with suppress(OSError):  # it is gone, or somebody else uses it by now
                folder.rmdir()
        return
    jobs = recorded(sweep)
    if runs := finished(jobs):
        from mlbench.sweeps.tables import write_sweep  # imports matplotlib

        Console(width=None if sys.stdout.isatty() else 160).print(summaries.sweep_table(runs))
        for path in write_sweep(runs, sweep):
            print(path)
    failures = [job for job in jobs if job["failure"]]
    if failures:
        lines = "".join(f"{job['job']}: {job['failure']['message']}\n" for job in failures)
        write_text(sweep / "failures.txt", lines)
        kind = UserError if all(job["failure"]["kind"] == "UserError" for job in failures) else RunError
        raise kind(f"{len(failures)} of {len(jobs)} jobs failed; see {sweep / 'failures.txt'}")


def finished(jobs: list[dict[str, Any]]) -> list[Finished]:
    """The jobs that have results, with labels that leave out what all jobs with a folder share.

    One run is one measurement, however often its settings stand in the command (seed=0,0).
    """
    begun = list({(job["folder"], job["label"]): job for job in jobs if job["folder"]}.values())
    runs = []
    for job, label in zip(begun, shortened([job["label"] for job in begun]), strict=True):
        folder = Path(job["folder"])
        if (summary := summaries.read_summary(folder)) is not None:
            runs.append(Finished(label, folder, summary))
    compare_with_joint(runs)
    return runs


def compare_with_joint(runs: list[Finished]) -> None:
    """Add joint accuracy and intransigence to the metrics of each run that has a joint run beside it: one whose
    settings are the same in all but the method."""
    joint = {
        settings(run.folder): run.summary["metrics"]["average_accuracy"]
        for run in runs
        if run.summary["technique"] == "joint"
    }
    for run in runs if joint else []:
        metrics, best = run.summary["metrics"], joint.get(settings(run.folder))
        if best is not None and "learning_accuracy" in metrics and "intransigence" not in metrics:
            metrics |= {"joint_accuracy": best, "intransigence": best - metrics["learning_accuracy"]}


def settings(folder: Path) -> str:
    """What a run and the joint run it is compared with must have in common."""
    config = summaries.read_config(folder / "config.yaml")
    return json.dumps({name: value for name, value in config.items() if name not in NOT_COMPARED}, sort_keys=True)


def shortened(labels: list[str]) -> list[str]:
    """Labels without the settings that all of them share; the technique's name always stays."""
    shared = set.intersection(*(set(label.split(" ")) for label in labels)) if labels else set()
    named = []
    for label in labels:
        own = [told(item) for item in label.split(" ") if item not in shared or told(item) != item]
        named.append(" ".join(own) or label)
    return named


def told(item: str) -> str:
    """`lifelong=gem` as `gem`; other settings as they are."""
    group, _, name = item.partition("=")
    return name if group in FAMILIES else item
