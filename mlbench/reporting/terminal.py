"""What is printed of a run and of a sweep."""

import sys
from pathlib import Path

from rich.table import Table
from rich.text import Text

from mlbench.core.errors import UserError
from mlbench.core.plain_console import PlainConsole
from mlbench.core.plain_text import printable
from mlbench.reporting.aggregate import BUDGET, budget_cell, headlines, spreads_by_label, with_controls
from mlbench.reporting.score_table import apart, number, score_tables
from mlbench.runs import layout
from mlbench.runs.run_reading import read_finished
from mlbench.runs.run_record import RunRecord
from mlbench.runs.run_tables import UnreadableRun, attempt, valid_matrix

LABEL = 30  # letters of a label that stay in one line


def show_run(folder: Path) -> None:
    """On stdout: the matrix R, the headline metrics, the costs, and where everything is."""
    try:
        run, _ = read_finished(folder)
    except UnreadableRun as error:
        raise UserError(f"{folder}: {error}") from error
    console = PlainConsole()
    matrix = folder / layout.ACCURACY_MATRIX
    if matrix.exists():
        try:
            console.print(attempt(matrix, matrix_table))
        except UnreadableRun as error:
            print(error, file=sys.stderr)
    metrics, scores = apart(run.metrics, run.technique)
    for title, values in (("metrics", metrics), ("costs", run.costs)):
        if not values:
            continue
        table = Table("", "", title=title, title_justify="left", show_header=False, box=None)
        table.columns[1].justify = "right"
        for name, value in values.items():
            table.add_row(name, number(value))
        console.print(table)
        if title == "metrics":
            for scored in score_tables(scores, console):
                console.print(scored)
    console.print(f"results: {folder}", soft_wrap=True)


def matrix_table(path: Path) -> Table:
    """The accuracy matrix in per cent, the tasks learned so far in bold. Raises what `valid_matrix` raises."""
    matrix = valid_matrix(path)
    table = Table(title="accuracy in % (rows: tasks learned, columns: tested on)", title_justify="left", padding=(0, 0))
    for column in range(1 + max(map(len, matrix.values()))):
        table.add_column(str(column) if column else "", justify="right", no_wrap=True)
    for learned, values in matrix.items():
        cells = [f"{100 * value:.0f}" for value in values]
        table.add_row(str(learned), *(Text(c, "bold" if i < learned else "dim") for i, c in enumerate(cells)))
    return table


def sweep_table(runs: list[RunRecord]) -> Table:
    """One row a label, and below it one for each control of its maps; one column a headline metric."""
    groups, metrics = spreads_by_label(runs), headlines(runs)
    title = "mean ± half the 95 % confidence interval over seeds"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column("", overflow="fold", no_wrap=max(map(len, groups)) <= LABEL)
    budget = [name for name in BUDGET if any(name in spreads for spreads in groups.values())]
    for name in (*metrics, *(BUDGET[name] for name in budget), "train_seconds", "runs"):
        table.add_column(name.replace("_", " "), justify="right")
    for label, spreads in groups.items():
        for title, own in with_controls(label, spreads, metrics).items():
            cells = [str(own[name]) if name in own else "" for name in metrics]
            paid = [budget_cell(name, spreads[name].mean) if name in spreads else "" for name in budget]
            costs = [*paid, f"{spreads['train_seconds'].mean:.1f}", str(spreads["train_seconds"].count)]
            table.add_row(printable(title), *cells, *(costs if own is spreads else [""] * len(costs)))
    return table
