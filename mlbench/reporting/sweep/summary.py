"""What a sweep says at its end. Reads and writes only files."""

import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlbench.core.atomic_io import write_text
from mlbench.core.errors import RunError, UserError
from mlbench.core.plain_console import PlainConsole
from mlbench.core.plain_text import printable
from mlbench.reporting.sweep.labels import short_labels
from mlbench.reporting.terminal import sweep_table
from mlbench.runs import layout
from mlbench.runs.run_reading import read_finished
from mlbench.runs.run_record import RunRecord
from mlbench.runs.run_state import has_content
from mlbench.runs.run_tables import UnreadableRun
from mlbench.runs.settings import joint_comparison_key
from mlbench.runs.sweep_log import read_jobs


def conclude(sweep: Path, new_folders: list[Path]) -> None:
    """Print the table over all finished jobs and write it beside the list of jobs; remove a sweep that never began.

    `new_folders` are those that did not exist before the sweep: no others are removed, whatever they hold. Raises
    UserError or RunError when jobs failed, after the others' results are safe.
    """
    if not (sweep / layout.JOBS).exists():
        if sweep in new_folders:
            shutil.rmtree(sweep, ignore_errors=True)
        for folder in new_folders:
            with suppress(OSError):  # it is gone, or somebody else uses it by now
                folder.rmdir()
        return
    jobs = read_jobs(sweep)
    if runs := finished(jobs):
        from mlbench.reporting.sweep.tables import write_sweep  # imports matplotlib

        PlainConsole().print(sweep_table(runs))
        for path in write_sweep(runs, sweep):
            print(printable(str(path)))
    failures = [job for job in jobs if job["failure"]]
    if failures:
        lines = "".join(f"{job['job']}: {job['failure']['message']}\n" for job in failures)
        write_text(sweep / layout.FAILURES, lines)
        kind = UserError if all(job["failure"]["kind"] == "UserError" for job in failures) else RunError
        raise kind(f"{len(failures)} of {len(jobs)} jobs failed; see {sweep / 'failures.txt'}")


def finished(jobs: list[dict[str, Any]]) -> list[RunRecord]:
    """The runs of the jobs that have results, with labels that leave out what all jobs with a folder share.

    One run is one measurement, however often its settings stand in the command (seed=0,0).
    """
    begun = list({(job["folder"], job["label"]): job for job in jobs if job["folder"]}.values())
    labels = short_labels([job["label"] for job in begun])
    runs = []
    for job, label in zip(begun, labels, strict=True):
        folder = Path(job["folder"])
        try:
            if has_content(folder / layout.SUMMARY):
                runs.append(read_finished(folder, label)[0])
        except UnreadableRun as error:
            print(printable(f"left out: {folder}: {error}"), file=sys.stderr)
    compare_with_joint(runs)
    return runs


def compare_with_joint(runs: list[RunRecord]) -> None:
    """Add joint accuracy and the gap to it to the metrics of each run that has a joint run beside it: one whose
    settings are the same in all but the method."""
    joint = {
        joint_comparison_key(run.config): run.metrics["average_accuracy"]
        for run in runs
        if run.technique == "joint" and "average_accuracy" in run.metrics
    }
    for run in runs if joint else []:
        metrics, best = run.metrics, joint.get(joint_comparison_key(run.config))
        if best is not None and "learning_accuracy" in metrics and "joint_gap" not in metrics:
            metrics |= {"joint_accuracy": best, "joint_gap": best - metrics["learning_accuracy"]}
