"""From run folders to tables with error bars; reads only files, no torch."""

import csv
import json
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml
from rich.console import Console
from rich.table import Table

from mlbench.errors import UserError
from mlbench.spread import Spread, spread

# libyaml's reader is ten times faster, and not on every machine
Reader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_summary(folder: Path) -> dict[str, Any] | None:
    """summary.json of a run folder; None when the run has not finished. Raises UserError when it is broken."""
    path = folder / "summary.json"
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error})") from error


def read_config(path: Path) -> Any:
    """A run's config.yaml as plain values. Raises OSError or yaml.YAMLError."""
    return yaml.load(path.read_text(encoding="utf-8"), Loader=Reader)


def show_run(folder: Path) -> None:
    """On stdout: the matrix R, the headline metrics, the costs, and where everything is."""
    summary = read_summary(folder)
    console = Console(width=None if sys.stdout.isatty() else 160)
    matrix = folder / "accuracy_matrix.csv"
    if matrix.exists():
        console.print(matrix_table(matrix))
    for title, values in (("metrics", summary["metrics"]), ("costs", summary["costs"])):
        table = Table("", "", title=title, title_justify="left", show_header=False, box=None)
        table.columns[1].justify = "right"
        for name, value in values.items():
            table.add_row(name, f"{value:,}" if isinstance(value, int) else f"{value:.4f}")
        console.print(table)
    console.print(f"results: {folder}", soft_wrap=True, highlight=False)


def matrix_table(path: Path) -> Table:
    """The accuracy matrix in per cent, the tasks learned so far in bold."""
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    table = Table(title="accuracy in % (rows: tasks learned, columns: tested on)", title_justify="left", padding=(0, 0))
    for number, _ in enumerate(header):
        table.add_column(str(number) if number else "", justify="right", no_wrap=True)
    for learned, *values in rows:
        cells = [f"{100 * float(value):.0f}" for value in values]
        table.add_row(learned, *(f"[bold]{c}[/]" if i < int(learned) else f"[dim]{c}[/]" for i, c in enumerate(cells)))
    return table


@dataclass
class Finished:
    """A finished run of a sweep, under the label that says what is its own."""

    label: str
    folder: Path
    summary: dict[str, Any]

    @property
    def metrics(self) -> dict[str, float]:
        """What it measured."""
        return self.summary["metrics"]

    @property
    def headlines(self) -> dict[str, str]:
        """See `headlines`."""
        return self.summary.get("headlines", {})


def grouped(runs: Iterable[Finished]) -> dict[str, dict[str, Spread]]:
    """Spread of each metric over the runs that share a label, in order of first appearance."""
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        costs = {"train_seconds": run.summary["costs"]["train_seconds"]}
        for name, value in {**run.metrics, **costs}.items():
            values[run.label][name].append(value)
    return {label: {name: spread(found) for name, found in names.items()} for label, names in values.items()}


class Told(Protocol):
    """A run that says which of its metrics matter."""

    metrics: dict[str, float]
    headlines: dict[str, str]


def headlines(runs: Iterable[Told]) -> dict[str, str]:
    """The metrics that a table of these runs shows, the most telling first, and their good end: `high`, `low` or none.

    A run's technique says which these are (`Run.finish`); one that it did not measure is left out.
    """
    found: dict[str, str] = {}
    for run in runs:
        found |= {name: end for name, end in run.headlines.items() if name in run.metrics}
    return found


def sweep_table(runs: list[Finished]) -> Table:
    """One row a label, one column a headline metric."""
    groups, metrics = grouped(runs), headlines(runs)
    table = Table(title="mean ± half the 95 % confidence interval over seeds", title_justify="left")
    table.add_column("", overflow="fold")
    for name in (*metrics, "train_seconds", "runs"):
        table.add_column(name.replace("_", " "), justify="right")
    for label, found in groups.items():
        cells = [str(found[name]) if name in found else "" for name in metrics]
        seconds = f"{found['train_seconds'].mean:.1f}"
        table.add_row(label, *cells, seconds, str(found["train_seconds"].count))
    return table
