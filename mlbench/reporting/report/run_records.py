"""Run folders as records: what is finished, what is not, and what cannot be read. Nothing raises for a broken run."""

import csv
import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mlbench.core.atomic_io import read_rows
from mlbench.reporting.figures.streams import read_matrix
from mlbench.runs.summary import read_config

UNREADABLE = (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, csv.Error, yaml.YAMLError)
UNFINISHED = "not finished: it was cut off or still runs (mlbench resume=... goes on)"
IDENTITY = ("family", "data", "model")


@dataclass
class Record:
    """A finished run: its summary, its config, and where it lies."""

    folder: Path
    family: str
    technique: str
    data: str
    model: str
    seed: int
    metrics: dict[str, float]
    costs: dict[str, float]
    kind: str = ""
    headlines: dict[str, str] = field(default_factory=dict)  # metrics that tables show -> their good end
    config: dict[str, Any] = field(default_factory=dict)
    ended: str = ""

    @property
    def minute(self) -> str:
        """When it ended, for people."""
        return self.ended[:16].replace("T", " ")


@dataclass
class Problem:
    """Something in a folder that the report goes on without, in one line."""

    folder: Path
    line: str


@dataclass
class Records:
    """All that was found below a folder."""

    runs: list[Record] = field(default_factory=list)
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

    def matrix(self, run: Record) -> dict[int, list[float]]:
        """Accuracies by the number of tasks learned; empty where there are none."""
        return self.read(run.folder / "accuracy_matrix.csv", whole_matrix) or {}

    def rows(self, run: Record, name: str) -> list[dict[str, str]]:
        """The rows of one of the run's tables; empty where there is no such table."""
        return self.read(run.folder / name, read_rows) or []


def collect(folder: Path, without: Path) -> Records:
    """Every run below `folder`, without looking into `without`, in the order of their paths."""
    found = Records()
    for place, folders, files in os.walk(folder):
        here = Path(place)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and here / name != without)
        if "summary.json" in files:
            read_run(here, found)
        elif "config.yaml" in files and ("env.json" in files or (here / ".hydra").is_dir()):
            found.problems.append(Problem(here, UNFINISHED))
        else:
            continue
        folders.clear()  # nothing of a run lies deeper in it
    return found


def read_run(folder: Path, found: Records) -> None:
    """Add the run of this folder to what was found, or the reason why it cannot be."""
    try:
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        run = from_summary(folder, summary)
    except UNREADABLE as error:
        found.problems.append(Problem(folder, f"summary.json cannot be read: {one_line(error)}"))
        return
    config = found.read(folder / "config.yaml", read_config)
    if isinstance(config, dict):
        run.config = config
    else:
        found.problems.append(Problem(folder, "without its config.yaml it cannot be compared with others"))
    environment = found.read(folder / "env.json", lambda path: json.loads(path.read_text(encoding="utf-8")))
    if isinstance(environment, dict):
        run.ended = str(environment.get("ended", ""))
    found.runs.append(run)


def from_summary(folder: Path, summary: dict[str, Any]) -> Record:
    """A record; numbers that are not finite are left out. Raises one of UNREADABLE when something is missing."""
    if summary["schema"] != 1:
        raise ValueError(f"schema {summary['schema']} is not known here")
    family, data, model = (str(summary[name]) for name in IDENTITY)
    technique = str(summary["technique"] or "plain")
    numbers = [numeric(summary[name]) for name in ("metrics", "costs")]
    told = (str(summary.get("kind", "")), dict(summary.get("headlines", {})))
    return Record(folder, family, technique, data, model, int(summary["seed"]), *numbers, *told)


def numeric(values: dict[str, Any]) -> dict[str, float]:
    """Those that are finite numbers."""
    return {
        str(name): value for name, value in values.items() if isinstance(value, int | float) and math.isfinite(value)
    }


def whole_matrix(path: Path) -> dict[int, list[float]]:
    """The rows of accuracy_matrix.csv. Raises ValueError where numbers are missing."""
    _, rows = read_matrix(path)
    if not all(row and all(map(math.isfinite, row)) for row in rows.values()):
        raise ValueError("a row without all its numbers")
    return rows


def number(row: dict[str, str], name: str) -> float | None:
    """A cell as a finite number; None where there is none."""
    try:
        value = float(row.get(name) or "nan")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def one_line(error: Exception) -> str:
    """An error's message without its line breaks, not too long."""
    text = f"no {error}" if isinstance(error, KeyError) else str(error) or type(error).__name__
    text = " ".join(text.split())
    return text if len(text) <= 160 else f"{text[:160]}..."
