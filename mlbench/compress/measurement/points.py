"""The rows of points.csv: what follows from the measurements of all points together. Columns: runs/point_columns.py."""

from pathlib import Path
from typing import Any

import numpy as np

from mlbench.core.csv_files import write_csv
from mlbench.runs.point_columns import Column

FLOAT_BYTES = 4  # of a number in single precision
Row = dict[str, Any]  # column -> value, and what the worker measures beside the columns


def compression_ratio(row: Row, dense: Row) -> float | None:
    """How many times smaller an artefact is than the dense network's parameters in single precision.

    None where it is not known how many these are.
    """
    return None if dense["parameters"] is None else FLOAT_BYTES * dense["parameters"] / row["bytes"]


def complete(rows: list[Row], latencies: np.ndarray) -> list[Row]:
    """Add the columns that follow from all measurements together.

    Args:
        rows: What the worker measured of each point, the dense network first.
        latencies: Milliseconds of a batch, [points, rounds].

    Returns:
        The rows with every column of `POINT_COLUMNS`.
    """
    completed = []
    for step, (row, times) in enumerate(zip(rows, latencies, strict=True)):
        low, median, high = np.percentile(times, [25, 50, 75])
        derived = {"latency_ms": median, "latency_iqr_ms": high - low}
        derived |= {"ratio": compression_ratio(row, rows[0]), "error": 1 - row["accuracy"]}
        completed.append({"step": step, **row, **derived})
    return completed


def write_table(path: Path, columns: tuple[Column, ...], rows: list[Row]) -> None:
    """Write the columns of the rows as CSV, whole or not at all.

    A cell is empty where a point was measured before its column existed, in a run that was interrupted then.
    """
    names = [column.name for column in columns]
    write_csv(path, names, [[row.get(name, "") for name in names] for row in rows])


def correct_predictions(row: Row, count: int) -> np.ndarray:
    """Whether each of the `count` test examples was classified correctly, bool [count]."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(row["correct"]), np.uint8), count=count).astype(bool)
