"""Files of other makers given as a checkpoint are told by their content, whatever they are called."""

import json
import pickle
import struct
import warnings
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from mlbench.core.errors import UserError
from mlbench.runs.checkpoint import load


def write_safetensors(path):
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))


def write_torchscript(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(nn.Linear(2, 2)), path)


def write_exported(path):
    torch.export.save(torch.export.export(nn.Linear(2, 2), (torch.zeros(1, 2),)), path)


def write_onnx(path):
    onnx = pytest.importorskip("onnx")
    output = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([], "graph", [output], [output])
    onnx.save(onnx.helper.make_model(graph, producer_name="torch"), path)


def write_keras(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", b"\x89HDF\r\n\x1a\n")


def write_npz(path):
    with path.open("wb") as stream:
        np.savez(stream, x=np.zeros(2))


@pytest.mark.parametrize(
    ("write", "told"),
    [
        (write_safetensors, "safetensors"),
        (write_torchscript, "TorchScript"),
        (write_exported, r"torch.export \(.pt2\)"),
        (write_onnx, "ONNX"),
        (write_keras, "Keras"),
        (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(80)), "HDF5"),
        (lambda path: torch.save(nn.Linear(2, 2), path), "whole pickled module"),
        (lambda path: torch.save(nn.Linear(2, 2), path, _use_new_zipfile_serialization=False), "whole pickled module"),
        (lambda path: path.write_bytes(pickle.dumps(np.float64)), "whole pickled module"),
        (lambda path: torch.save(nn.Linear(2, 2).state_dict(), path), "a state_dict"),
        (lambda path: path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n"), "Git LFS"),
        (lambda path: path.write_bytes(b""), "empty"),
        (lambda path: path.write_bytes(b"hello world\n"), "a text file"),
        (lambda path: path.write_bytes(("é" * 5000).encode()), "a text file"),
        (lambda path: path.write_bytes(b"hello \0world"), "truncated or not a checkpoint"),
        (lambda path: path.write_bytes(b"PAR1" + bytes(20)), "Parquet"),
        (lambda path: path.write_bytes(pickle.dumps({"a": 1}, protocol=4)), "pickled"),
        (lambda path: torch.save({"state_dict": {"a": torch.zeros(1)}, "epoch": 1}, path), "its weights in state_dict"),
        (write_npz, "NumPy"),
    ],
)
@pytest.mark.parametrize("name", ["model.pt", "model.bin"])
def test_the_kind_of_a_file_is_said(write, told, name, tmp_path):
    write(tmp_path / name)
    with pytest.raises(UserError, match=told) as failure:
        load(tmp_path / name)
    assert str(tmp_path / name) in str(failure.value)
    assert str(failure.value).count("\n") <= 1


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("config.json", "model.safetensors"), "Hugging Face"),
        (("config.json", "pytorch_model.bin"), "Hugging Face"),
        (("saved_model.pb",), "TensorFlow"),
        (("other.txt",), "holds no checkpoints/model.safetensors"),
        ((), "holds no checkpoints/model.safetensors"),
    ],
)
def test_the_kind_of_a_folder_is_said(names, told, tmp_path):
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=told) as failure:
        load(tmp_path)
    assert "allowed is a finished run's folder" in str(failure.value)
