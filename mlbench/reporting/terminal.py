"""What is printed of a run and of a sweep."""

import csv
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from mlbench.reporting.aggregate import BUDGET, budget_cell, headlines, spreads_by_label
from mlbench.runs import layout
from mlbench.runs.run_record import RunRecord, read_summary


def show_run(folder: Path) -> None:
    """On stdout: the matrix R, the headline metrics, the costs, and where everything is."""
    summary = read_summary(folder)
    console = Console(width=None if sys.stdout.isatty() else 160)
    matrix = folder / layout.ACCURACY_MATRIX
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


def sweep_table(runs: list[RunRecord]) -> Table:
    """One row a label, one column a headline metric."""
    groups, metrics = spreads_by_label(runs), headlines(runs)
    table = Table(title="mean ± half the 95 % confidence interval over seeds", title_justify="left")
    table.add_column("", overflow="fold")
    budget = [name for name in BUDGET if any(name in spreads for spreads in groups.values())]
    for name in (*metrics, *(BUDGET[name] for name in budget), "train_seconds", "runs"):
        table.add_column(name.replace("_", " "), justify="right")
    for label, spreads in groups.items():
        cells = [str(spreads[name]) if name in spreads else "" for name in metrics]
        cells += [budget_cell(name, spreads[name].mean) if name in spreads else "" for name in budget]
        seconds = f"{spreads['train_seconds'].mean:.1f}"
        table.add_row(label, *cells, seconds, str(spreads["train_seconds"].count))
    return table
