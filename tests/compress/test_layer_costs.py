"""The rows of layers.csv add up to those of points.csv, for every kind of network, and shared weights count once."""

import sys

import pytest
import torch
from torch import nn

import mlbench as package
from mlbench.compress.measurement.layer_costs import layer_seconds, own_parameters
from mlbench.compress.measurement.worker import Reader
from mlbench.data.modality import PAD
from mlbench.data.normalisation import AsIds
from mlbench.models.bert import Bert
from mlbench.runs.checkpoint import Trained
from mlbench.runs.codec import container

SUMMED = ("parameters", "nonzero", "macs")


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.first, self.encoder, self.last = nn.Linear(8, 8), nn.TransformerEncoder(layer, 2), nn.Linear(8, 3)

    def forward(self, x):
        return self.last(self.encoder(self.first(x[:, 0])).mean(1))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.gru = nn.LSTM(8, 6, 2, batch_first=True, bidirectional=True), nn.GRU(12, 5, batch_first=True)
        self.last = nn.Linear(5, 3)

    def forward(self, x):
        return self.last(self.gru(self.lstm(x[:, 0])[0])[0][:, -1])


class Convolutions(nn.Sequential):
    def __init__(self):
        grouped, transposed = nn.Conv2d(4, 8, 3, groups=2), nn.ConvTranspose2d(8, 4, 2)
        super().__init__(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), grouped, transposed, nn.Flatten(), nn.Linear(100, 3))


class Shared(nn.Module):
    """A layer under two names, a weight in two layers, and a product outside of every layer."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(64, 64), nn.Linear(64, 64, bias=False), nn.Linear(64, 3)
        self.second.weight, self.again = self.first.weight, self.first
        self.alike = nn.Linear(64, 64)
        self.alike.weight = nn.Parameter(self.first.weight.data)  # another parameter, the same numbers

    def forward(self, x):
        x = self.again(self.second(self.first(x.flatten(1))))
        return self.last((x.unsqueeze(1) @ x.unsqueeze(2)).squeeze(2) * x)


def measured(net, tmp_path, examples, first=None):
    torch.save({"pictures": examples, "labels": torch.zeros(len(examples)).long()}, tmp_path / "test.pt")
    (tmp_path / "net").write_bytes(b"12345")
    reader = Reader(str(tmp_path / "test.pt"), "cpu", 1, 2, [])
    path = str(tmp_path / "net")
    reader.networks[path] = nn.Sequential(first or nn.Identity(), net).eval()
    return reader.point(path), {row["layer"]: row for row in reader.layers(path)}


@pytest.mark.parametrize("build", [Encoder, Recurrent, Convolutions, Shared])
def test_layers_add_up(build, tmp_path):
    point, layers = measured(build(), tmp_path, torch.randn(5, 1, 8, 8))
    for column in SUMMED:
        assert sum(row[column] for row in layers.values()) == pytest.approx(point[column])
    assert point["macs"] > 0
    assert [note for note in point["notes"] if "weights of alike" not in note] == []
    assert all(row["latency_ms"] >= 0 for row in layers.values())


def test_products_of_attention_are_those_of_the_attention(tmp_path):
    point, layers = measured(Encoder(), tmp_path, torch.randn(5, 1, 8, 8))
    own = layers["encoder.layers.0.self_attn"]
    assert (own["kind"], own["macs"]) == ("MultiheadAttention", 3 * 8 * 8 * 8 + 2 * 8 * 8 * 8)
    assert layers["encoder.layers.0.self_attn.out_proj"]["macs"] == 8 * 8 * 8
    assert point["macs"] == 8 * 64 + 2 * (8 * 4 * 64 + 2 * 512 + 2 * 8 * 8 * 16) + 24


def test_what_layers_share_counts_once(tmp_path):
    point, layers = measured(Shared(), tmp_path, torch.randn(5, 1, 8, 8))
    assert point["parameters"] == 64 * 64 + 64 + 64 + 3 * 64 + 3  # and the bias of `alike`
    assert [layers[name]["parameters"] for name in ("first", "second", "alike")] == [64 * 65, 0, 64]
    assert "again" not in layers
    assert [layers[name]["macs"] for name in ("first", "second", "Shared")] == [2 * 64 * 64, 64 * 64, 64]
    assert own_parameters(Shared()).keys() == {"first", "second", "last", "alike"}


def test_a_layer_that_runs_twice_takes_the_time_of_both(monkeypatch):
    times = iter(range(100))
    net = nn.Sequential(layer := nn.Linear(2, 2), layer)
    assert layer_seconds(net, ["0"], torch.zeros(1, 2), 3, lambda: next(times)) == {"0": [2.0, 2.0, 2.0]}


def test_a_layer_without_a_count_is_said(tmp_path):
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    net.unused = nn.Linear(4, 4)
    net.forward = lambda x: net[1](net[0](x))
    (note,) = measured(net, tmp_path, torch.randn(5, 1, 8, 8))[0]["notes"]
    assert "unused" in note


@pytest.fixture
def bert():
    pytest.importorskip("transformers")
    torch.manual_seed(0)
    return Bert((24,), 4, 100, 16, 1, 2, 0.0, None, 0, 16, 0.002).eval()


def cost(length, width=16, outputs=4):
    return 12 * width * width * length + 2 * length * length * width + width * outputs


def test_a_text_costs_what_it_costs_alone(bert, tmp_path):
    lengths = [24, 3, 7, 3, 12]
    ids = torch.full((5, 24), 5, dtype=torch.int32)
    for row, length in zip(ids, lengths, strict=True):
        row[length:] = PAD
    point, layers = measured(bert, tmp_path, ids, AsIds())
    assert point["macs"] == pytest.approx(sum(map(cost, lengths)) / 5)
    for column in SUMMED:
        assert sum(row[column] for row in layers.values()) == pytest.approx(point[column])
    assert "without padding, of 9.8 tokens on average" in point["notes"][0]
    assert any("language.cls" in note for note in point["notes"][1:])  # what tells covered words does not run here
    assert not any("embeddings" in note for note in point["notes"])
    each = [int(bert(row[None]).argmax(1)) == 0 for row in ids]
    assert point["accuracy"] == sum(each) / 5


def written(net, path, node, shape, normalise):
    container.write(path, Trained(net, node, shape, 4, list("abcd"), None, normalise).packed(), entropy=False)
    return package.load(path)[1]


def test_a_tied_embedding_is_written_once_and_is_tied_again(bert, tmp_path):
    node = {"_target_": "mlbench.models.bert.Bert", "vocabulary": 100, "width": 16, "depth": 1, "heads": 2}
    node |= {"dropout": 0.0, "pretrained": None, "pretrain_epochs": 0, "pretrain_batch_size": 16, "pretrain_lr": 0.1}
    with torch.no_grad():
        for parameter in bert.parameters():
            parameter.normal_()  # ones and zeros take less space
    again = written(bert, tmp_path / "net.mlb", node, (24,), AsIds())
    dense = 4 * sum(parameter.numel() for parameter in bert.parameters())
    assert dense < (tmp_path / "net.mlb").stat().st_size < dense + 4000
    embedding, decoder = again.language.bert.embeddings.word_embeddings, again.language.cls.predictions.decoder
    assert embedding.weight is decoder.weight
    for name, tensor in bert.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)


def bits(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8).tolist()


SETTINGS = """# a network with buffers of many kinds
_target_: kinds.Kinds
"""
SOURCE = """
import torch
from torch import nn


class Kinds(nn.Sequential):
    def __init__(self, input_shape, outputs):
        super().__init__(nn.Flatten(), nn.Linear(64, outputs))
        draw = torch.Generator().manual_seed(1)
        numbers = torch.randn(3, 4, generator=draw) * 50
        for name in ("bfloat16", "float16", "int16", "int8", "uint8", "uint16", "bool", "complex64", "float8_e5m2"):
            self.register_buffer(f"of_{name}", numbers.abs().to(getattr(torch, name)))
        self.register_buffer("single", torch.tensor(2.5, dtype=torch.bfloat16))
        self.register_buffer("nothing", torch.zeros(0, 3, dtype=torch.int16))
        self.narrow = nn.Parameter(numbers.to(torch.bfloat16), requires_grad=False)
        self.transposed = nn.Parameter(numbers.t(), requires_grad=False)
"""


@pytest.mark.usefixtures("same_process")
def test_a_network_with_numbers_of_any_kind_is_measured_and_comes_back(mlbench, tmp_path):
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "model" / "kinds.yaml").write_text(SETTINGS)
    (tmp_path / "mine" / "kinds.py").write_text(SOURCE)
    words = ("--config-dir", str(tmp_path / "mine"), "compress=measure", "model=kinds", "train.epochs=1", "threads=1")
    code, _, error = mlbench(*words)
    assert code == 0, error
    (file,) = (tmp_path / "out").rglob("point_00.mlb")
    found, fresh = package.load(file, tmp_path / "mine")[1].state_dict(), {}
    exec(SOURCE, fresh)
    for name, tensor in fresh["Kinds"]((1, 8, 8), 10).state_dict().items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape)
        if not name.startswith("1."):  # trained
            assert bits(found[name]) == bits(tensor), name


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("self.register_buffer('few', torch.eye(3).to_sparse())", "few of this one is sparse"),
        ("type(self).get_extra_state = lambda net: {'a': 1}; type(self).set_extra_state = print", "is of kind dict"),
    ],
)
def test_what_cannot_be_written_is_said_before_anything_is_trained(mlbench, tmp_path, line, told):
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "model" / "sparse.yaml").write_text("# sparse\n_target_: sparse_net.Net\n")
    layers = f"super().__init__(nn.Flatten(), nn.Linear(64, outputs)); {line}"
    head = (
        "import torch\nfrom torch import nn\n\nclass Net(nn.Sequential):\n    def __init__(self, input_shape, outputs):"
    )
    (tmp_path / "mine" / "sparse_net.py").write_text(f"{head}\n        {layers}\n")
    code, _, error = mlbench("--config-dir", str(tmp_path / "mine"), "compress=measure", "model=sparse")
    sys.modules.pop("sparse_net", None)
    assert (code, told in error, (tmp_path / "out").exists()) == (2, True, False), error
