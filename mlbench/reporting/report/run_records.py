"""Run folders as records: what is finished, what is not, and what cannot be read. Nothing raises for a broken run."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from mlbench.runs import layout
from mlbench.runs.run_reading import read_finished
from mlbench.runs.run_record import RunRecord
from mlbench.runs.run_state import State, run_state
from mlbench.runs.run_tables import Rows, UnreadableRun, attempt, valid_matrix, valid_rows

Content = TypeVar("Content")


@dataclass
class Problem:
    """Something in a folder that the report goes on without, in one line."""

    folder: Path
    line: str
    left_out: bool = False  # the whole run


@dataclass
class Records:
    """All that was found below a folder."""

    runs: list[RunRecord] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def read(self, path: Path, reader: Callable[[Path], Content]) -> Content | None:
        """What `reader` makes of a file of a run; None where there is no such file, or, noted, where it is broken."""
        try:
            return attempt(path, reader) if path.exists() else None
        except UnreadableRun as error:
            self.problems.append(Problem(path.parent, str(error)))
            return None

    def matrix(self, run: RunRecord) -> dict[int, list[float]]:
        """Accuracies by the number of tasks learned; empty where there are none."""
        return self.read(run.folder / layout.ACCURACY_MATRIX, valid_matrix) or {}

    def rows(self, run: RunRecord, name: str) -> Rows:
        """The rows of one of the run's tables; empty where there is no such table."""
        return self.read(run.folder / name, valid_rows) or []


def collect(folder: Path, without: Path) -> Records:
    """Every run below a folder.

    Args:
        folder: where to look.
        without: a folder that is not looked into: the report's own.

    Returns:
        The runs in the order of their paths, and what cannot be used.
    """
    records = Records()
    left = [folder]  # os.walk calls itself, and ends where folders lie a thousand deep
    while left:
        here = left.pop()
        try:
            with os.scandir(here) as entries:
                names = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
        except OSError as error:
            records.problems.append(Problem(here, f"cannot be opened: {error.strerror}", left_out=True))
            continue
        if layout.SUMMARY in names or (layout.CONFIG in names and layout.is_unfinished(here)):
            add_run(here, records)  # nothing of a run lies deeper in it
            continue
        inside = [here / name for name, is_folder in names.items() if is_folder and not name.startswith(".")]
        left += sorted((place for place in inside if place != without), reverse=True)
    return records


def add_run(folder: Path, records: Records) -> None:
    """Add the run of this folder to the records, or the reason why it cannot be used."""
    if (told := run_state(folder)).state is not State.FINISHED:
        records.problems.append(Problem(folder, str(told), left_out=True))
        return
    try:
        run, lines = read_finished(folder)
    except UnreadableRun as error:
        records.problems.append(Problem(folder, str(error), left_out=True))
        return
    records.problems += [Problem(folder, line) for line in lines]
    records.runs.append(run)
