"""The columns of points.csv and layers.csv.

To add a column to points.csv, name it here; then return its value from `Reader.point` in worker.py, or compute it from
other columns in `complete`. Columns of layers.csv are measured by `Reader.layers`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mlbench.core.atomic_io import write_csv

FLOAT_BYTES = 4  # of a number in single precision
Row = dict[str, Any]  # column -> value, and what the worker measures beside the columns


@dataclass(frozen=True)
class Column:
    """A column of a table: its name, the unit of its values (empty where they have none), and what they mean."""

    name: str
    unit: str
    meaning: str


POINT_COLUMNS = (
    Column("step", "", "number of the point; 0 is the dense network"),
    Column("stage", "", "name of the point: the method, and the setting where there are several"),
    Column("accuracy", "share of 1", "test examples that are classified correctly"),
    Column("error", "share of 1", "1 - accuracy"),
    Column("parameters", "numbers", "weights and biases of the network, without buffers"),
    Column("nonzero", "numbers", "parameters that are not zero"),
    Column("bytes", "bytes", "size of the artefact"),
    Column("ratio", "", "bytes of the dense network's parameters in single precision, divided by `bytes`"),
    Column("macs", "multiply-adds", "executed for one example, the mean over the test set"),
    Column("latency_ms", "ms", "time of a forward pass of a batch of latency_batch examples, the median over rounds"),
    Column("latency_iqr_ms", "ms", "interquartile range of that time over rounds"),
)
LAYER_COLUMNS = (
    Column("step", "", "number of the point: the dense network or the last one"),
    Column("layer", "", "path of the layer in the network"),
    Column("kind", "", "class of the layer"),
    Column("parameters", "numbers", "weights and biases of the layer, without buffers"),
    Column("nonzero", "numbers", "parameters that are not zero"),
    Column("bytes", "bytes", "its parameters as the artefact stores them, without entropy coding"),
    Column("macs", "multiply-adds", "executed for one example, the mean over a batch of latency_batch examples"),
    Column("latency_ms", "ms", "time of the layer in a forward pass of such a batch, the median over passes"),
)


def compression_ratio(row: Row, dense: Row) -> float:
    """How many times smaller an artefact is than the dense network's parameters in single precision."""
    return FLOAT_BYTES * dense["parameters"] / row["bytes"]


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
    """Write the columns of the rows as CSV, whole or not at all."""
    names = [column.name for column in columns]
    write_csv(path, names, [[row[name] for name in names] for row in rows])


def correct_predictions(row: Row, count: int) -> np.ndarray:
    """Whether each of the `count` test examples was classified correctly, bool [count]."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(row["correct"]), np.uint8), count=count).astype(bool)
