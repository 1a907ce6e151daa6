"""Checkpoints as safetensors: what is read is what was written, other programs find the weights, damage is noticed."""

import json

import pytest
import safetensors.torch
import torch

from mlbench.core.errors import UserError
from mlbench.runs import tensor_file
from mlbench.runs.checkpoint import Trained, read_network
from mlbench.runs.checkpoint_file import read_tensors, write_tensors
from mlbench.runs.tensor_file import decode, encode
from tests.mutations import PUBLISHED

EVERY = {
    "weights": {
        "0.weight": torch.arange(12.0).view(4, 3).t(),  # not contiguous
        "half": torch.tensor([1.5, -0.0]).bfloat16(),
        "scalar": torch.tensor(7),
        "empty": torch.zeros(0, 3),
        "flags": torch.tensor([True, False]),
        "bytes": torch.tensor([-128, 127], dtype=torch.int8),
    },
    "mean": None,
    "replaced": {"0": {"kind": "x", "codes": torch.tensor([1, 2], dtype=torch.uint8), "sizes": [1, 2.5e-300, "ä"]}},
    "network": [torch.ones(1), {"deep": [torch.zeros(2)]}],
}


def same(a, b):
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[name], b[name]) for name in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b and type(a) is type(b)


def test_what_is_read_is_what_was_written():
    raw = encode(EVERY)
    assert tensor_file.is_ours(raw)
    assert same(decode(raw), EVERY)
    assert encode(decode(raw)) == raw  # the same network is the same file


def test_other_programs_find_the_weights_by_their_names():
    found = safetensors.torch.load(encode(EVERY))
    assert all(torch.equal(found[name], weight) for name, weight in EVERY["weights"].items())


@pytest.mark.parametrize("value", [{1: "a"}, float("nan"), {1.5}, {"$tensor": 1}, b"a"])
def test_what_json_would_change_is_not_written_so(value):
    assert encode({"weights": {}, "other": value}) is None


def test_a_name_is_not_given_twice():
    assert encode({"weights": {"mlbench/mean": torch.ones(1)}, "mean": torch.ones(1)}) is None


def published(name):
    return read_tensors(PUBLISHED / name)


@pytest.mark.parametrize("name", sorted(path.name for path in PUBLISHED.glob("*.pt")))
def test_nothing_of_a_checkpoint_of_ours_is_lost(tmp_path, name):
    content = published(name)
    (tmp_path / "net.safetensors").write_bytes(encode(content))
    assert same(read_tensors(tmp_path / "net.safetensors"), content)


def test_every_flipped_bit_is_noticed_or_changes_nothing(tmp_path):
    content = published("mlp.pt")
    raw = encode(content)
    path, told = tmp_path / "net.safetensors", 0
    for place in range(3, len(raw), len(raw) // 80):
        broken = bytearray(raw)
        broken[place] ^= 1 << place % 8
        path.write_bytes(broken)
        try:
            assert same(read_tensors(path), content)
        except UserError:
            told += 1
    assert told > 60


@pytest.mark.parametrize("end", [0, 7, 9, 40, 400, -1])
def test_a_part_of_a_file_is_refused(tmp_path, end):
    (tmp_path / "net.safetensors").write_bytes(encode(published("mlp.pt"))[:end])
    with pytest.raises(UserError, match=r"net\.safetensors"):
        read_network(tmp_path / "net.safetensors")


@pytest.mark.parametrize("length", [2**63, 2**40, 2**24 + 1])
def test_a_header_that_claims_much_is_refused(tmp_path, length):
    (tmp_path / "a").write_bytes(length.to_bytes(8, "little") + tensor_file.HEAD + b'"{}"}}')
    with pytest.raises(UserError, match="truncated"):
        read_network(tmp_path / "a")


@pytest.mark.parametrize(
    "note", ["[]", "{}", '{"content": "[", "crc32": 1}', "[" * 100_000, '{"content": 3, "crc32": 0}']
)
def test_a_note_that_is_none_is_refused(tmp_path, note):
    header = json.dumps({"__metadata__": {"mlbench": note}}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    (tmp_path / "a").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(UserError, match="truncated"):
        read_network(tmp_path / "a")


def test_a_network_that_json_cannot_describe_is_kept_as_before(tmp_path):
    net = torch.nn.Linear(2, 2)
    net.replaced = {"0": {1: torch.ones(1)}}
    Trained(net, {"_target_": "x"}, (2,), 2, ["a", "b"], None, None).save(tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]
    assert torch.equal(read_tensors(tmp_path / "model.pt")["replaced"]["0"][1], torch.ones(1))


def test_a_folder_of_an_older_run_is_read(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    write_tensors(tmp_path / "checkpoints" / "model.pt", published("mlp.pt"))
    assert same(read_network(tmp_path)["weights"], published("mlp.pt")["weights"])


@pytest.mark.parametrize("buffer", [torch.eye(3).to_sparse(), torch.ones(2, dtype=torch.complex128)])
def test_tensors_that_the_format_does_not_know_are_kept_as_before(tmp_path, buffer):
    net = torch.nn.Linear(2, 2)
    net.register_buffer("other", buffer)
    Trained(net, {"_target_": "x"}, (2,), 2, ["a", "b"], None, None).save(tmp_path / "model")
    found = read_tensors(tmp_path / "model.pt")["weights"]["other"]
    assert found.dtype == buffer.dtype
    assert torch.equal(found.to_dense(), buffer.to_dense())


def test_the_state_of_a_users_own_method_may_hold_other_plain_values(tmp_path):
    state = {
        "weights": {},
        "own": {"seen": {1, 2}, "where": torch.device("cpu"), "size": torch.Size([2]), "raw": b"ab"},
    }
    write_tensors(tmp_path / "last.pt", state)
    found = read_tensors(tmp_path / "last.pt")["own"]
    assert found == {**state["own"], "size": [2]}
