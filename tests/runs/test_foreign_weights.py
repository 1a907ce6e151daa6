"""Weights from files of other programs: the names they have there do not matter, and nothing in a file is run."""

import json
import os
import pickle
import struct
from collections import OrderedDict
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from mlbench.core.errors import UserError
from mlbench.models.mlp import MLP
from mlbench.runs.checkpoint_file import read_tensors
from mlbench.runs.foreign_weights import given_weights, read_foreign
from tests.experiment.test_runs import only_run, summary
from tests.runs.test_foreign_files import write_torchscript


def network():
    torch.manual_seed(0)
    layers = OrderedDict(conv=nn.Conv2d(1, 4, 3), norm=nn.BatchNorm2d(4), flat=nn.Flatten(), fc=nn.Linear(144, 3))
    return nn.Sequential(OrderedDict(net=nn.Sequential(layers)))


def renamed(front, **more):
    return {**{front + name.removeprefix("net."): tensor for name, tensor in network().state_dict().items()}, **more}


def legacy(content, path):
    torch.save(content, path, _use_new_zipfile_serialization=False)


def sharded(content, folder):
    folder.mkdir()
    names = list(content)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, keys in parts.items():
        safetensors.torch.save_file({key: content[key] for key in keys}, folder / file)
    index = {"weight_map": {key: file for file, keys in parts.items() for key in keys}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def folder_with_bin(content, folder):
    folder.mkdir()
    torch.save(content, folder / "pytorch_model.bin")


LIGHTNING = {"epoch": 3, "hyper_parameters": {"lr": 0.1}, "optimizer_states": [{"state": {}}], "callbacks": {}}
WAYS = [
    (torch.save, renamed("")),
    (torch.save, renamed("net.")),
    (torch.save, renamed("module._orig_mod.model.")),
    (torch.save, {"state_dict": renamed("module."), "epoch": 1}),
    (torch.save, {"model": renamed("backbone."), "ema": renamed("", x=torch.zeros(1))}),
    (torch.save, {**LIGHTNING, "state_dict": renamed("model.", **{"criterion.weight": torch.ones(3)})}),
    (torch.save, {name: t for name, t in renamed("").items() if not name.endswith("num_batches_tracked")}),
    (legacy, renamed("module.")),
    (legacy, {"model_state_dict": OrderedDict(renamed("")), "best": 0.5}),
    (lambda content, path: safetensors.torch.save_file(content, path), renamed("model.")),
    (sharded, renamed("transformer.")),
    (folder_with_bin, renamed("")),
]


@pytest.mark.parametrize(("write", "content"), WAYS)
def test_the_weights_come_whatever_the_file_calls_them(write, content, tmp_path):
    write(content, tmp_path / "weights")
    net = network()
    for tensor in net.state_dict().values():
        tensor.zero_()
    given_weights(tmp_path / "weights").give(net, "model=own")
    for name, tensor in network().state_dict().items():
        assert torch.equal(net.state_dict()[name], tensor) or name.endswith("num_batches_tracked")


def test_a_new_head_keeps_its_weights_and_the_others_come(tmp_path):
    torch.save(renamed(""), tmp_path / "weights.pth")
    net = network()
    net.net.fc = nn.Linear(144, 7)
    head = net.net.fc.weight.clone()
    net.net.conv.weight.data.zero_()
    with pytest.raises(UserError, match=r"net.fc.weight \[7, 144\], in the file \[3, 144\]"):
        given_weights(tmp_path / "weights.pth").give(net, "model=own")
    given_weights(tmp_path / "weights.pth").give(net, "model=own", new_head=True)
    assert torch.equal(net.net.fc.weight, head)
    assert torch.equal(net.net.conv.weight, network().net.conv.weight)


def test_what_does_not_fit_is_told_in_two_lines(tmp_path):
    torch.save({"net.conv.weight": torch.zeros(4, 1, 3, 3), "head.bias": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(UserError) as failure:
        given_weights(tmp_path / "other.pth").give(network(), "model=own")
    first, second = str(failure.value).splitlines()
    assert first == f"{tmp_path / 'other.pth'} does not fit model=own: 1 of its 9 tensors do"
    told = "the first that does not is net.conv.bias [4], not in the file; the first that is left over is head.bias [2]"
    assert second == told


class Harm:
    def __reduce__(self):
        return os.mkdir, ("harmed",)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(pickle.dumps(Harm(), protocol=2)),
        lambda path: legacy({"a": torch.zeros(1), "b": Harm()}, path),
        lambda path: torch.save({"a": torch.zeros(1), "b": Harm()}, path),
        lambda path: torch.save(nn.Linear(2, 2), path),
        lambda path: legacy(nn.Linear(2, 2), path),
        write_torchscript,
    ],
)
def test_what_would_run_code_is_refused_with_the_way_out(write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(Path("file"))
    with pytest.raises(UserError, match=r"run code|runs code") as failure:
        read_foreign(Path("file"))
    assert "state_dict()" in str(failure.value).splitlines()[1]
    assert not Path("harmed").exists()


def test_a_file_that_claims_more_than_it_holds_is_refused(tmp_path):
    """Each of the last eight numbers of this format says how many follow."""
    legacy({"a": torch.zeros(10), "b": torch.ones(3)}, tmp_path / "whole")
    raw = (tmp_path / "whole").read_bytes()
    (tmp_path / "cut").write_bytes(raw[:-4])
    (tmp_path / "more").write_bytes(raw.replace(struct.pack("<q", 10), struct.pack("<q", 2**40)))
    for name in ("cut", "more"):
        with pytest.raises(UserError, match="truncated or damaged"):
            read_foreign(tmp_path / name)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../whole"}}')
    with pytest.raises(UserError, match="does not name files beside it"):
        read_foreign(tmp_path / "folder")


def test_what_holds_no_weights_is_none(tmp_path):
    (tmp_path / "text").write_text("hello")
    assert read_foreign(tmp_path / "text") is None
    assert read_foreign(tmp_path) is None
    with pytest.raises(UserError, match="does not exist; allowed are"):
        given_weights(tmp_path / "nothing.pth")


def test_a_network_of_another_program_is_explained_without_training(mlbench, tmp_path):
    torch.manual_seed(1)
    known = MLP((1, 8, 8), 10, [16]).state_dict()
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in known.items()}}, tmp_path / "x.ckpt")
    words = ("explain=saliency", "model=mlp", f"checkpoint={tmp_path / 'x.ckpt'}", "explain.samples=2")
    code, _, error = mlbench(*words, "model.hidden=[16]", "explain.scores=none")
    assert code == 0, error
    folder = only_run(tmp_path / "out")
    assert summary(folder)["costs"]["train_seconds"] == 0
    weights = read_tensors(folder / "checkpoints" / "model.safetensors")["weights"]
    assert all(torch.equal(weights[name], tensor) for name, tensor in known.items())
    code, _, error = mlbench(*words, "model.hidden=[20]")
    assert code == 2
    first, second = error.strip().splitlines()[-2:]
    assert first.endswith("does not fit model=mlp: 1 of its 4 tensors do")
    assert second.startswith("the first that does not is 1.weight [20, 64]")
