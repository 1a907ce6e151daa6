"""Multiply-adds against counts by hand, layer by layer and in all, and what is said where there is no count."""

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from mlbench.training.device import choose_threads
from mlbench.training.mac_counter import MacCounter
from mlbench.training.mac_formulas import FORMULAS, has_unknown_cost
from mlbench.training.module_modes import eval_mode

MODES = (torch.no_grad, torch.inference_mode, torch.enable_grad)


def counted(net, *inputs, mode=torch.no_grad, **named):
    net.eval()
    with mode(), MacCounter(net) as counter:
        net(*inputs, **named)
    assert sum(counter.by_layer.values()) == counter.total
    return counter


class Called(nn.Module):
    """A function as a network."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


def attention(length, width, keys=None):
    """Four projections, and the products of queries with keys and of weights with values."""
    keys = keys or length
    return 2 * (length + keys) * width * width + 2 * length * keys * width


def lstm(steps, inputs, hidden, gates=4):
    return steps * gates * hidden * (inputs + hidden)


def lenet():
    convolutions = (nn.Conv2d(1, 6, 5, padding=2), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.MaxPool2d(2))
    return nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10))


def encoder():
    layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True)
    return nn.Sequential(
        nn.Linear(8, 64), nn.TransformerEncoder(layer, 2), Called(lambda x: x.mean(1)), nn.Linear(64, 10)
    )


NETWORKS = {
    "perceptron": (
        lambda: nn.Sequential(nn.Linear(64, 30), nn.ReLU(), nn.Linear(30, 10)),
        (3, 64),
        3 * (64 * 30 + 300),
    ),
    "a matrix of inputs": (lambda: nn.Linear(5, 7), (2, 3, 4, 5), 2 * 3 * 4 * 5 * 7),
    "LeNet-5": (lenet, (1, 1, 28, 28), 28 * 28 * 6 * 25 + 10 * 10 * 16 * 6 * 25 + 400 * 120 + 120 * 84 + 840),
    "grouped": (lambda: nn.Conv2d(8, 12, 3, groups=4, padding=1), (2, 8, 5, 7), 2 * 5 * 7 * 12 * 2 * 9),
    "depthwise separable": (
        lambda: nn.Sequential(
            nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8), nn.BatchNorm2d(8), nn.Conv2d(8, 16, 1)
        ),
        (1, 8, 6, 6),
        3 * 3 * 8 * 9 + 3 * 3 * 8 * 16,
    ),
    "transposed": (lambda: nn.ConvTranspose2d(4, 6, 3, stride=2), (2, 4, 5, 5), 2 * 5 * 5 * 4 * 6 * 9),
    "transposed and grouped": (lambda: nn.ConvTranspose1d(4, 6, 3, groups=2, dilation=2), (1, 4, 5), 5 * 4 * 3 * 3),
    "dilated 1d": (lambda: nn.Conv1d(3, 5, 3, dilation=4), (2, 3, 20), 2 * (20 - 8) * 5 * 3 * 3),
    "3d": (lambda: nn.Conv3d(2, 3, (1, 2, 3)), (1, 2, 4, 5, 6), 4 * 4 * 4 * 3 * 2 * 6),
    "LSTM": (lambda: nn.LSTM(8, 64, batch_first=True), (1, 8, 8), lstm(8, 8, 64)),
    "LSTM, two ways and layers": (
        lambda: nn.LSTM(8, 16, 2, bidirectional=True),
        (5, 3, 8),
        2 * lstm(15, 8, 16) + 2 * lstm(15, 32, 16),
    ),
    "LSTM of one text": (lambda: nn.LSTM(8, 16), (5, 8), lstm(5, 8, 16)),
    "GRU": (lambda: nn.GRU(8, 16, batch_first=True), (2, 7, 8), lstm(14, 8, 16, gates=3)),
    "RNN": (lambda: nn.RNN(8, 16), (7, 2, 8), lstm(14, 8, 16, gates=1)),
    "LSTM cell": (lambda: nn.LSTMCell(8, 16), (3, 8), lstm(3, 8, 16)),
    "GRU cell": (lambda: nn.GRUCell(8, 16), (3, 8), lstm(3, 8, 16, gates=3)),
    "transformer encoder": (encoder, (1, 8, 8), 8 * 8 * 64 + 2 * (attention(8, 64) + 2 * 8 * 64 * 128) + 640),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", NETWORKS)
def test_multiply_adds_by_hand(name, mode):
    build, shape, expected = NETWORKS[name]
    counter = counted(build(), torch.zeros(shape), mode=mode)
    assert counter.total == expected
    assert counter.gaps() == []


def test_the_encoder_of_width_64_by_hand():
    assert NETWORKS["transformer encoder"][2] == 545_408


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_a_projection_of_hidden_states_and_packed_texts():
    hidden, projected = 16, 4
    gates = 4 * hidden * (8 + projected)
    assert counted(nn.LSTM(8, hidden, proj_size=projected), torch.zeros(5, 3, 8)).total == 15 * (
        gates + hidden * projected
    )
    packed = nn.utils.rnn.pack_padded_sequence(torch.zeros(8, 2, 8), [8, 3])
    for mode in MODES:
        assert counted(nn.LSTM(8, 16), packed, mode=mode).total == lstm(8 + 3, 8, 16)  # no padding


def test_recurrent_operators_of_other_devices():
    weights = [torch.empty(64, 8), torch.empty(64, 16), torch.empty(64), torch.empty(64)]
    given = (torch.empty(5, 3, 8), weights, 4)
    assert FORMULAS["aten._cudnn_rnn"](given, {}, None) == lstm(15, 8, 16)
    assert FORMULAS["aten._cudnn_rnn"]((torch.empty(11, 8), weights, 4), {}, None) == lstm(11, 8, 16)  # packed
    shapes = [torch.empty(2, 4, 7, 8), torch.empty(2, 2, 9, 8), torch.empty(2, 2, 9, 5)]
    for kind in ("flash_attention", "efficient_attention", "cudnn_attention", "flash_attention_for_cpu"):
        macs = FORMULAS[f"aten._scaled_dot_product_{kind}"]((*shapes, 0.0, False), {}, None)
        assert macs == 2 * 4 * 7 * 9 * (8 + 5)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("need_weights", [True, False])
def test_multihead_attention(mode, need_weights):
    net, x = nn.MultiheadAttention(32, 4, batch_first=True), torch.zeros(2, 8, 32)
    before = torch.backends.mha.get_fastpath_enabled()
    counter = counted(net, x, x, x, mode=mode, need_weights=need_weights)
    assert counter.total == 2 * attention(8, 32)
    assert counter.by_layer["out_proj"] == 2 * 8 * 32 * 32  # though it is never called
    other = torch.zeros(2, 5, 32)
    assert counted(net, x, other, other, mode=mode, need_weights=need_weights).total == 2 * attention(8, 32, 5)
    assert torch.backends.mha.get_fastpath_enabled() == before


def test_queries_of_more_heads_than_keys_and_every_kind_of_attention():
    q, k, v = torch.zeros(2, 4, 8, 16), torch.zeros(2, 2, 9, 16), torch.zeros(2, 2, 9, 16)
    net = Called(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, enable_gqa=True))
    assert counted(net, q, k, v).total == 2 * 4 * 8 * 9 * 32
    for masked in ({"is_causal": True}, {"attn_mask": torch.ones(8, 8, dtype=torch.bool)}, {}):
        for width in (16, 12):  # of values; torch falls back to plain products for the second
            net = Called(lambda q, v, masked=masked: F.scaled_dot_product_attention(q, q, v, **masked))
            assert counted(net, q, torch.zeros(2, 4, 8, width)).total == 2 * 4 * 8 * 8 * (16 + width)


@pytest.mark.parametrize(
    ("function", "shapes", "expected"),
    [
        (lambda a, b: torch.einsum("bhqd,bhkd->bhqk", a, b), [(2, 3, 4, 5), (2, 3, 6, 5)], 2 * 3 * 4 * 6 * 5),
        (lambda a, b: a @ b, [(7, 5), (5,)], 35),
        (lambda a, b: a @ b, [(5,), (5,)], 5),
        (lambda a, b: a @ b, [(2, 3, 4), (4, 6)], 2 * 3 * 4 * 6),
        (lambda a, b: torch.zeros(2, 3, 6).baddbmm_(a, b), [(2, 3, 4), (2, 4, 6)], 2 * 3 * 4 * 6),
        (lambda a, b: torch.zeros(3, 6).addbmm(a, b), [(2, 3, 4), (2, 4, 6)], 2 * 3 * 4 * 6),
        (lambda a, b: torch.zeros(3, 6).addmm_(a, b), [(3, 4), (4, 6)], 3 * 4 * 6),
        (lambda a, b: torch.zeros(3).addmv(a, b), [(3, 4), (4,)], 12),
        (lambda a, b: a.to_sparse() @ b, [(3, 4), (4, 6)], 0),
        (lambda a, b: a * b + a, [(3, 4), (3, 4)], 0),
    ],
)
def test_products(function, shapes, expected):
    assert counted(Called(function), *(torch.zeros(shape) for shape in shapes)).total == expected


def test_a_bilinear_layer_multiplies_by_one_input_and_then_by_the_other():
    assert counted(nn.Bilinear(4, 5, 3), torch.zeros(2, 4), torch.zeros(2, 5)).total == 2 * 3 * (4 * 5 + 5)


def test_lookups_and_norms_multiply_nothing_and_are_no_gap():
    net = nn.Sequential(nn.Embedding(10, 6), nn.LayerNorm((3, 6)), nn.Linear(6, 2))
    counter = counted(net, torch.zeros(4, 3, dtype=torch.int64))
    assert (counter.by_layer, counter.gaps()) == ({"2": 4 * 3 * 12}, [])


def vit(layers=12, width=768, tokens=197, inner=3072):
    return 196 * 3 * 16 * 16 * width + layers * (attention(tokens, width) + 2 * tokens * width * inner) + width * 1000


def swin():
    total = 56 * 56 * 3 * 16 * 96
    for depth, width, side in ((2, 96, 56), (2, 192, 28), (6, 384, 14), (2, 768, 7)):
        windows, places = (side // 7) ** 2, 49
        block = windows * attention(places, width) + 2 * side * side * width * 4 * width
        total += depth * block + (side // 2) ** 2 * 4 * width * 2 * width * (side > 7)  # and the merging of patches
    return total + 768 * 1000


def resnet():
    total = 112 * 112 * 64 * 3 * 49
    for number, width in enumerate((64, 128, 256, 512)):
        side, before = 56 >> number, width // 2 if number else 64
        total += side * side * width * 9 * (before + 3 * width) + side * side * width * before * (number > 0)
    return total + 512 * 1000


@pytest.mark.parametrize(
    ("name", "by_hand", "published"),
    [("vit_b_16", vit, 17.564), ("swin_t", swin, 4.491), ("resnet18", resnet, 1.814)],
)
def test_known_networks(name, by_hand, published):
    """The published numbers are those of torchvision's documentation, which counts multiply-adds too."""
    with torch.device("meta"):
        counter = counted(getattr(torchvision.models, name)(), torch.empty(1, 3, 224, 224))
    assert counter.total == by_hand() == pytest.approx(published * 1e9, abs=5e5)


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_bert_layer_by_layer(implementation):
    transformers = pytest.importorskip("transformers")
    width, inner, length, layers, words = 32, 48, 7, 2, 50
    config = transformers.BertConfig(
        vocab_size=words,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=inner,
        attn_implementation=implementation,
    )
    counter = counted(transformers.BertForMaskedLM(config), torch.ones(2, length, dtype=torch.int64))
    head = length * width * width + length * width * words
    assert counter.total == 2 * (layers * (attention(length, width) + 2 * length * width * inner) + head)
    assert counter.by_layer["bert.encoder.layer.0.attention.self"] == 2 * 2 * length * length * width
    assert counter.by_layer["cls.predictions.decoder"] == 2 * length * width * words  # tied to the embedding
    assert not any("embeddings" in layer for layer in counter.by_layer)
    assert counter.gaps() == []


class Odd(nn.Module):
    """A layer without a name that torch knows, and one that never runs."""

    def __init__(self):
        super().__init__()
        self.mix, self.unused = Mix(), nn.Linear(3, 3)

    def forward(self, x):
        return self.mix(x)


class Mix(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight, self.place = nn.Parameter(torch.ones(5, 4)), nn.Parameter(torch.ones(3, 4))
        self.scale = nn.Parameter(torch.ones(4, 1, 1))

    def forward(self, x):
        return ((x + self.place).unsqueeze(-2) * self.weight).sum(-1)


class Spectrum(Mix):
    def forward(self, x):
        return torch.fft.fft(x).real + self.place


def test_what_is_not_counted_is_said_by_name():
    first, second = counted(Odd(), torch.zeros(2, 3, 4)).gaps()
    assert "weights of mix:" in first
    assert "weights of unused:" in second
    net = nn.Sequential(Spectrum())
    del net[0].weight
    (line,) = counted(net, torch.zeros(2, 3, 4)).gaps()
    assert "aten._fft_r2c" in line
    assert line.endswith("in 0")


def test_an_operator_of_another_library_is_said(monkeypatch):
    @torch.library.custom_op("mlbench_tests::twice", mutates_args=())
    def twice(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    (line,) = counted(nn.Sequential(Called(twice)), torch.zeros(2)).gaps()
    assert "mlbench_tests.twice" in line
    assert not has_unknown_cost("torchvision.nms")
    assert not has_unknown_cost("aten.upsample_bilinear2d")


@pytest.mark.parametrize("reparametrised", [nn.utils.parametrizations.weight_norm, lambda layer: layer])
def test_a_computed_weight_is_that_of_its_layer(reparametrised):
    net = nn.Sequential(reparametrised(nn.Linear(3, 4)), nn.Linear(4, 2))
    counter = counted(net, torch.zeros(5, 3))
    assert (counter.by_layer, counter.gaps()) == ({"0": 60, "1": 40}, [])


def test_a_layer_that_runs_twice_counts_twice_and_hooks_are_gone():
    layer = nn.Linear(4, 4)
    net = nn.Sequential(layer, nn.ReLU(), layer)
    assert counted(net, torch.zeros(3, 4)).by_layer == {"0": 2 * 3 * 16}
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


@pytest.mark.filterwarnings("ignore::FutureWarning:torch.jit", "ignore::DeprecationWarning:torch.jit")
def test_a_scripted_network_takes_no_hooks_and_is_counted():
    net = torch.jit.script(nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2)))
    assert counted(net, torch.zeros(3, 4)).by_layer == {"0": 60, "2": 30}


def test_an_error_inside_leaves_nothing_behind():
    net = nn.Sequential(nn.Linear(4, 4))
    with pytest.raises(RuntimeError), MacCounter(net) as counter:
        net(torch.zeros(3, 5))
    assert counter.calls == [""]
    assert torch.backends.mha.get_fastpath_enabled()
    assert not net._forward_hooks


def test_threads_are_chosen_by_all_multiply_adds_of_a_recurrent_network(monkeypatch):
    monkeypatch.setattr("joblib.cpu_count", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    net, example = nn.LSTM(128, 128, batch_first=True), torch.zeros(1, 32, 128)  # 4.2 million an example
    assert lstm(32, 128, 128) * 64 < 3e8 < lstm(32, 128, 128) * 128
    with eval_mode(net):
        assert (choose_threads("auto", net, example, 64), choose_threads("auto", net, example, 128)) == (1, 8)
