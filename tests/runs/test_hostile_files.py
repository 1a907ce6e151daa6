"""Files made to harm whoever loads them: loading reads data and does nothing else."""

import io
import json
import os
import pickle
import struct
import subprocess
import sys
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from mlbench.core.buildable import buildable
from mlbench.core.config_groups import conf_folder
from mlbench.core.errors import UserError
from mlbench.core.renamed import current
from mlbench.data.normalisation import Normalise
from mlbench.models.mlp import MLP
from mlbench.runs.checkpoint import Trained, load, read_network
from mlbench.runs.checkpoint_file import write_tensors
from mlbench.runs.codec import container

PUBLISHED = Path(__file__).parents[1] / "published"
MODEL = {"_target_": "mlbench.models.mlp.MLP", "hidden": [8], "dropout": 0.0}


def packed(**changes):
    torch.manual_seed(0)
    normalise = Normalise(torch.tensor([0.5]), torch.tensor([0.25]))
    return Trained(MLP((1, 4, 4), 3, [8]), MODEL, (1, 4, 4), 3, ["a", "b", "c"], None, normalise).packed() | changes


def artefact(header, body=b""):
    """A .mlb with this header, its checksum right."""
    text = zlib.compress(header if isinstance(header, bytes) else json.dumps(header).encode())
    content = container.MAGIC + struct.pack("<I", len(text)) + text + body
    return content + struct.pack("<I", zlib.crc32(content))


def header(**changes):
    return {name: container.plain(value) for name, value in packed().items() if name != "weights"} | changes


def refused(path, match):
    """That loading is refused in a line that names the file."""
    with pytest.raises(UserError, match=match) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert str(caught.value).count("\n") <= 1


@pytest.mark.parametrize("entry", ["model", "wrapping"])
@pytest.mark.parametrize("ending", ["pt", "mlb"])
def test_no_interpolation_of_a_file_is_resolved(monkeypatch, tmp_path, entry, ending):
    monkeypatch.setenv("SECRET", "0.25")
    node = {"_target_": "mlbench.lifelong.icarl.NearestMean", "classes": 3} if entry == "wrapping" else MODEL
    name = "width" if entry == "wrapping" else "dropout"
    content = packed(**{entry: {**node, name: "${oc.decode:${oc.env:SECRET}}"}})
    path = tmp_path / f"net.{ending}"
    write_tensors(path, content) if ending == "pt" else container.write(path, content, entropy=False)
    with pytest.raises(UserError, match=rf"{name}=\$\{{oc.decode") as caught:
        load(path)
    assert "0.25" not in str(caught.value)


def test_no_module_is_imported_whose_class_is_not_built(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "own_of_a_user.py").touch()
    (tmp_path / "mine" / "pydoc_data").mkdir()  # a name that Python finds elsewhere
    targets = ["mlbench.__main__.X", "mlbench.cli.main.main", "mlbench.models.cnn.Block", "torch.nn.Linear"]
    targets += ["torch.utils.bottleneck.X", "antigravity.X", "os.system", "", "X", "pydoc_data.topics.X", "mlbench..X"]
    for target in targets:
        write_tensors(tmp_path / "net.pt", packed(model={"_target_": target}))
        before = set(sys.modules)
        with pytest.raises(UserError, match=r"net\.pt"):
            load(tmp_path / "net.pt", tmp_path / "mine")
        assert not {name for name in set(sys.modules) - before if not name.startswith("own_of")}


def test_what_may_be_built_is_what_the_config_and_the_published_files_name():
    named = set()

    def walk(node):
        if isinstance(node, dict):
            named.update(current(value) for name, value in node.items() if name == "_target_")
            for value in node.values():
                walk(value)

    for path in conf_folder().rglob("*.yaml"):
        walk(OmegaConf.to_container(OmegaConf.load(path)))
    for path in [*PUBLISHED.glob("*.pt"), *PUBLISHED.glob("*.mlb")]:
        walk(read_network(path)["wrapping"])
    assert {name for name in named if not name.startswith("hydra_plugins.")} - {
        "mlbench.run.Sweep",
        "???",
    } == buildable()


def test_importing_the_main_module_runs_nothing():
    code = "import mlbench.__main__; print('imported')"
    done = subprocess.run([sys.executable, "-c", code, "list"], capture_output=True, text=True, check=True)
    assert done.stdout == "imported\n"
    done = subprocess.run([sys.executable, "-m", "mlbench", "--version"], capture_output=True, text=True, check=False)
    assert "imported" not in done.stdout


@pytest.mark.parametrize("name", ["mlp.pt", "exits.mlb"])
def test_every_flipped_bit_is_noticed_or_changes_nothing(tmp_path, name):
    whole = (PUBLISHED / name).read_bytes()
    before = read_network(PUBLISHED / name)["weights"]
    told = 0
    for place in range(5, len(whole), len(whole) // 60):
        broken = bytearray(whole)
        broken[place] ^= 1 << place % 8
        (tmp_path / name).write_bytes(broken)
        try:
            after = read_network(tmp_path / name)["weights"]
        except UserError:
            told += 1
            continue
        assert all(torch.equal(after[each], before[each]) for each in before)
    assert told > 30


def huge(shape, body=b"\x01" + bytes(4)):
    return artefact(header(tensors=[["1.weight", "float32", shape]]), body)


@pytest.mark.parametrize(
    "content",
    [
        huge([400_000_000]),
        huge([2**40, 0, 2**40]),
        huge([2**70]),
        huge([-1, -5]),
        huge([[8, 16]]),
        huge([8.0]),
        huge([True]),
        artefact(header(tensors=[["1.weight", "float32", [2**20]]] * 100), (b"\x01" + bytes(4)) * 100),
        huge([2**20], b"\x01" + struct.pack("<IBI", 1, 0, 2**32 - 1) + bytes(9)),  # gaps of no bits
        huge(
            [2**10], b"\x00\x01\x01" + bytes(8) + b"\x01" + struct.pack("<HI", 1, 4) + b"\xff" * 8
        ),  # words of 31 bits
        artefact(b" " * 2**28 + b"{}"),
        artefact(b"[" * 100_000),
        artefact(header(tensors=None)),
        artefact(header(tensors=[["a", "float32", []]], shared={"b": "c"})),
        artefact([]),
        artefact(header(tensors=[], mean=[["a"]])),
    ],
)
def test_a_small_file_that_claims_much_is_refused(tmp_path, content):
    assert len(content) < 2**20
    (tmp_path / "net.mlb").write_bytes(content)
    tracemalloc.start()  # of numpy's arrays, too
    refused(tmp_path / "net.mlb", "truncated or not a checkpoint")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**27


@pytest.mark.parametrize(
    "changes",
    [
        {"model": {**MODEL, "hidden": [2**30]}},
        {"model": {**MODEL, "hidden": [2**60]}},
        {"model": {**MODEL, "hidden": [2**63]}},
        {"model": {**MODEL, "hidden": [1] * 50_000}},
        {"model": {"_target_": "mlbench.models.speech.Speech", "channels": 1, "hidden": 2**20, "dropout": 0.0}},
        {"model": {"_target_": "mlbench.models.mlp.Linear"}, "input_shape": [2**20, 2**20]},
        {"outputs": 2**50},
        {"wrapping": {"_target_": "mlbench.lifelong.icarl.NearestMean", "classes": 2**20, "width": 2**20}},
        {"wrapping": {"_target_": "mlbench.lifelong.progressive.Columns", "count": 10**9}},
        {"wrapping": {"_target_": "mlbench.models.mlp.MLP"}},
        {"wrapping": "a: b"},
        {"replaced": {"1": {"kind": "Linear", "in_features": 2**20, "out_features": 2**20}}},
        {"replaced": {"1": {"kind": "Int8Linear", "in_features": 0, "out_features": 2**40, "dynamic": True}}},
        {"replaced": {"1": {"kind": "resized", "counts": {}, "shapes": {"weight": [2**20, 2**20]}}}},
        {"replaced": {"1": {"kind": "resized", "counts": {"forward": 1}, "shapes": {}}}},
        {"replaced": {"1": {}}},
        {"replaced": {"training": {"kind": "Linear"}}},
        {"replaced": {"1": {"kind": "Linear", "unknown": 1}}},
        {"replaced": [1]},
        {"weights": {}},
        {"weights": {"1.weight": torch.zeros(1)}},
        {"weights": {1: torch.zeros(1)}},
        {"weights": {"1.weight": torch.zeros(1).expand(2**30)}},
        {"input_shape": ["a"]},
        {"input_shape": [-1, 4, 4]},
        {"outputs": True},
        {"mean": None},
        {"classes": [1, 2]},
        {"model": {"_target_": ["mlbench.models.mlp.MLP"]}},
        {"model": {**MODEL, "hidden": {"a": torch.zeros(1)}}},
        {"model": {**MODEL, "hidden": [[[[]]]]}},
        {"model": {**MODEL, "dropout": 2**70}},
        {"model": {**MODEL, "\ud800": 1}},
    ],
)
def test_a_description_that_cannot_be_is_refused_before_it_takes_memory(tmp_path, changes):
    path = tmp_path / "net.pt"
    torch.save(packed(**changes), path)
    refused(path, r"net\.pt")


class Bytes:
    def __reduce__(self):
        return bytearray, (2**33,)


def archive(**members):
    stream = io.BytesIO()
    torch.save(packed(), stream)
    with zipfile.ZipFile(stream) as old:
        contents = {name: old.read(name) for name in old.namelist()} | members.pop("contents", {})
    changed = io.BytesIO()
    with zipfile.ZipFile(changed, "w", **members) as new:
        for name, content in contents.items():
            new.writestr(name, content)
    return changed.getvalue()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (archive(compression=zipfile.ZIP_DEFLATED), "truncated or not"),
        (archive(contents={"archive/data.pkl": pickle.dumps({"weights": Bytes()}, 2)}), "other objects"),
        (archive(contents={"archive/data.pkl": pickle.dumps(os.system, 2)}), "other objects"),
        (archive(contents={"archive/data.pkl": b"\x80\x02" + b"(" * 10**5}), "truncated or not"),
        (archive(contents={"archive/data.pkl": b"\x80\x02" + b"]" * 10**4 + b"a" * (10**4 - 1) + b"."}), "not written"),
        (archive(contents={"archive/data.pkl": b"\x80\x02]q\x00" + b"h\x00a" + b"."}), "not written"),
        (pickle.dumps([0] * 10), "other objects"),
    ],
)
def test_an_archive_that_torch_would_read_and_should_not(tmp_path, content, told):
    (tmp_path / "net.pt").write_bytes(content)
    refused(tmp_path / "net.pt", told)


def test_only_regular_files_are_read(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "run" / "checkpoints" / "model.pt").mkdir(parents=True)
    (tmp_path / "full" / "checkpoints").mkdir(parents=True)
    os.mkfifo(tmp_path / "full" / "checkpoints" / "model.pt")
    for place, told in {"fifo": "a FIFO", "/dev/zero": "a device", "run": "a folder", "full": "a FIFO"}.items():
        with pytest.raises(UserError, match=f"is {told}"):
            load(tmp_path / place)


def test_nothing_is_fetched_to_load_a_file(monkeypatch, tmp_path):
    torchvision = pytest.importorskip("torchvision")
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: pytest.fail("a name was looked up"))
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("a connection was opened"))
    monkeypatch.setattr(torchvision.models._api.WeightsEnum, "get_state_dict", lambda *_, **__: pytest.fail("fetched"))
    target = {"_target_": "mlbench.models.torchvision.Torchvision", "name": "squeezenet1_1", "weights": "DEFAULT"}
    write_tensors(tmp_path / "net.pt", packed(model=target))
    with pytest.raises(UserError, match=r"net\.pt"):
        load(tmp_path / "net.pt")  # it does not end in a linear layer
    content = torch.load(PUBLISHED / "bert.pt", weights_only=True)
    content["model"]["pretrained"] = "nobody/has-this-network"
    write_tensors(tmp_path / "net.pt", content)
    with pytest.raises(UserError, match="nothing is fetched"):
        load(tmp_path / "net.pt")
