"""Run folders as records: what is finished, what is not, and what cannot be read. Nothing raises for a broken run."""

import csv
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mlbench.core.atomic_io import read_rows
from mlbench.reporting.figures.streams import read_matrix
from mlbench.runs import layout
from mlbench.runs.run_record import Rows, RunRecord, read_config, read_json, validate

UNREADABLE = (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, csv.Error, yaml.YAMLError)
UNFINISHED = "not finished: it was interrupted or still runs (mlbench resume=... goes on)"


@dataclass
class Problem:
    """Something in a folder that the report goes on without, in one line."""

    folder: Path
    line: str


@dataclass
class Records:
    """All that was found below a folder."""

    runs: list[RunRecord] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def read(self, path: Path, reader: Any) -> Any:
        """What `reader` makes of a file of a run; None where there is no such file, or, noted, where it is broken."""
        if not path.exists():
            return None
        try:
            return reader(path)
        except UNREADABLE as error:
            self.problems.append(Problem(path.parent, f"{path.name} cannot be read: {one_line(error)}"))
            return None

    def matrix(self, run: RunRecord) -> dict[int, list[float]]:
        """Accuracies by the number of tasks learned; empty where there are none."""
        return self.read(run.folder / layout.ACCURACY_MATRIX, whole_matrix) or {}

    def rows(self, run: RunRecord, name: str) -> Rows:
        """The rows of one of the run's tables; empty where there is no such table."""
        return self.read(run.folder / name, read_rows) or []


def collect(folder: Path, without: Path) -> Records:
    """Every run below a folder.

    Args:
        folder: where to look.
        without: a folder that is not looked into: the report's own.

    Returns:
        The runs in the order of their paths, and what cannot be used.
    """
    records = Records()
    for place, folders, _ in os.walk(folder):
        here = Path(place)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and here / name != without)
        if layout.is_finished(here):
            add_run(here, records)
        elif layout.is_unfinished(here):
            records.problems.append(Problem(here, UNFINISHED))
        else:
            continue
        folders.clear()  # nothing of a run lies deeper in it
    return records


def add_run(folder: Path, records: Records) -> None:
    """Add the run of this folder to the records, or the reason why it cannot be used."""
    try:
        run = validate(RunRecord(folder, read_json(folder / layout.SUMMARY)))
    except UNREADABLE as error:
        records.problems.append(Problem(folder, f"{layout.SUMMARY} cannot be read: {one_line(error)}"))
        return
    config = records.read(folder / layout.CONFIG, read_config)
    if isinstance(config, dict):
        run.config = config
    else:
        records.problems.append(Problem(folder, f"without its {layout.CONFIG} it cannot be compared with others"))
    environment = records.read(folder / layout.ENVIRONMENT, read_json)
    if isinstance(environment, dict):
        run.ended = str(environment.get("ended", ""))
    records.runs.append(run)


def whole_matrix(path: Path) -> dict[int, list[float]]:
    """The rows of accuracy_matrix.csv. Raises ValueError where numbers are missing."""
    _, rows = read_matrix(path)
    if not all(row and all(map(math.isfinite, row)) for row in rows.values()):
        raise ValueError("a row without all its numbers")
    return rows


def one_line(error: Exception) -> str:
    """An error's message without its line breaks, not too long."""
    text = f"no {error}" if isinstance(error, KeyError) else str(error) or type(error).__name__
    text = " ".join(text.split())
    return text if len(text) <= 160 else f"{text[:160]}..."
