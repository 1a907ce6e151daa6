"""The tables of one lifelong run, and the figures drawn from them."""

from pathlib import Path

from mlbench.core.csv_files import write_csv
from mlbench.lifelong.metrics import Matrix
from mlbench.reporting.figures import streams
from mlbench.runs import layout


def write_matrix(folder: Path, matrix: Matrix, names: list[str]) -> None:
    """Write accuracy_matrix.csv (without the rows that were not measured) and the figures drawn from it."""
    rows = [[learned, *row] for learned, row in enumerate(matrix) if row is not None]
    table = folder / layout.ACCURACY_MATRIX
    write_csv(table, ["tasks_learned", *names], rows)
    streams.lifelong_figures(table, folder / layout.FIGURES)


def write_tasks(folder: Path, rows: list[list[object]]) -> None:
    """Write tasks.csv, the costs of each task, and its figure if there are several tasks."""
    table = folder / layout.TASKS
    write_csv(table, ["task", "name", "train_seconds", "consolidate_seconds", "samples"], rows)
    if len(rows) > 1:
        streams.draw_task_costs(table, folder / layout.FIGURES / "task_seconds.png")


def write_rounds(folder: Path, rows: list[list[float]]) -> None:
    """Write rounds.csv of a deployed model, and its figure."""
    table = folder / layout.ROUNDS
    write_csv(table, ["round", "online_accuracy", "original_accuracy", "round_accuracy", "labels"], rows)
    streams.draw_rounds(table, folder / layout.FIGURES / "rounds.png")
