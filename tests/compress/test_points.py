"""The columns of the tables of a compression run."""

import numpy as np
import pytest
import torch
from torch import nn

from mlbench.compress.measurement.points import complete, correct_predictions
from mlbench.compress.measurement.worker import Reader
from mlbench.runs.point_columns import LAYER_COLUMNS, POINT_COLUMNS


@pytest.fixture
def worker(tmp_path):
    """A worker with a small network that it need not read from an artefact."""
    torch.save({"pictures": torch.rand(10, 4), "labels": torch.arange(10) % 3}, tmp_path / "test.pt")
    (tmp_path / "net").write_bytes(b"12345")
    reader = Reader(str(tmp_path / "test.pt"), "cpu", 1, 2, [])
    reader.networks[str(tmp_path / "net")] = nn.Sequential(nn.Identity(), nn.Linear(4, 3))
    return reader


def test_every_column_is_measured_and_explained(worker, tmp_path):
    path = str(tmp_path / "net")
    (point,) = complete([{"stage": "dense", **worker.point(path)}], np.ones((1, 3)))
    (layer,) = worker.layers(path)
    for columns, row in ((POINT_COLUMNS, point), (LAYER_COLUMNS, {"step": 0, **layer})):
        assert {column.name for column in columns} <= set(row)
        assert all(column.meaning for column in columns)
        assert len({column.name for column in columns}) == len(columns)


def test_derived_columns_by_hand():
    measured = {"accuracy": 0.75, "parameters": 100, "bytes": 200}
    dense, small = complete([measured, {**measured, "parameters": 10, "bytes": 50}], np.array([[1, 2, 3], [4, 4, 8]]))
    assert (dense["step"], small["step"]) == (0, 1)
    assert (dense["ratio"], small["ratio"]) == (2, 8)
    assert (dense["latency_ms"], dense["latency_iqr_ms"]) == (2, 1)
    assert (small["latency_ms"], small["latency_iqr_ms"], small["error"]) == (4, 2, 0.25)


def test_correct_predictions_are_unpacked(worker, tmp_path):
    row = worker.point(str(tmp_path / "net"))
    correct = correct_predictions(row, 10)
    assert (correct.shape, correct.dtype) == ((10,), bool)
    assert correct.mean() == row["accuracy"]
