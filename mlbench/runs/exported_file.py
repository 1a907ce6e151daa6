"""Exported networks on disk, .onnx and .pt2: fixed functions that say what they take where `export=` wrote them."""

from pathlib import Path

import torch
from torch import nn

from mlbench.core.errors import UserError
from mlbench.core.foreign_files import LOOKED_AT, is_onnx, kind_of_archive
from mlbench.core.input_files import not_regular, open_regular
from mlbench.data.example_reader import PictureReader
from mlbench.data.normalisation import Normalise
from mlbench.models.exported import exported_function
from mlbench.runs.predictor import Predictor
from mlbench.runs.torch_file import is_archive


def is_exported(path: Path) -> bool:
    """Whether a file holds a network in ONNX or a program of torch.export."""
    if not path.is_file() or not_regular(path):
        return False
    with open_regular(path) as stream:
        head = stream.read(LOOKED_AT)
        return is_onnx(head) or (is_archive(head) and "torch.export" in kind_of_archive(head + stream.read()))


def read_exported(path: Path) -> Predictor:
    """The network of a file, with what its metadata say of its inputs and outputs.

    Raises UserError where it cannot be read, or says nothing of them.
    """
    with open_regular(path) as stream:
        function = exported_function(stream.read(), str(path))
    if not (about := function.about):
        raise UserError(
            f"{path}, {function.kind}, does not say in its metadata what it takes and gives (input_shape, classes)\n"
            f"files of export= do; others run as model=exported model.weights={path}, with model.mean and model.std"
        )
    record, front = function.record, nn.Identity()
    if record.std is not None and set(record.std) != {1.0}:
        front = Normalise(torch.zeros(len(record.std)), torch.tensor(record.std))
    return Predictor(
        front, function.net, PictureReader(tuple(about["input_shape"]), True, record.crop), about["classes"]
    ).eval()
