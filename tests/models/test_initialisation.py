"""Fresh weights: nothing of the trained ones is left, and what was drawn is told from what was loaded."""

import copy
from itertools import pairwise

import pytest
import torch
from torch import nn

from mlbench.explain.attribution.randomisation import cascade, layers
from mlbench.explain.base import input_gradient
from mlbench.models.bert import Bert
from mlbench.models.cnn import CNN
from mlbench.models.initialisation import comes_with_weights, redraw
from mlbench.models.mlp import MLP


class Held(nn.Module):
    """Parameters that it holds itself, as many classes of users do: a matrix, a scale for each unit, a temperature."""

    def __init__(self):
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(4, 16) / 4)
        self.scale, self.temperature = nn.Parameter(torch.ones(4)), nn.Parameter(torch.tensor(2.0))

    def forward(self, x):
        return x.flatten(1) @ (self.matrix * self.scale[:, None]).T / self.temperature


class Attention(nn.Module):
    """A transformer of torch over the rows of a picture."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)
        self.encoder, self.last = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(16, 4)

    def forward(self, x):
        return self.last(self.encoder(x.squeeze(1)).flatten(1))


class Recurrent(nn.Module):
    """An LSTM over the rows of a picture."""

    def __init__(self):
        super().__init__()
        self.lstm, self.last = nn.LSTM(4, 5, 2, bidirectional=True), nn.Linear(40, 4)

    def forward(self, x):
        return self.last(self.lstm(x.squeeze(1))[0].flatten(1))


def vit():
    """The smallest transformer of torchvision for pictures."""
    from torchvision.models import VisionTransformer

    return VisionTransformer(8, 4, 2, 2, 4, 8, num_classes=4)


def swin():
    """The same with windows, whose tables of positions are parameters of no layer."""
    from torchvision.models import SwinTransformer

    return SwinTransformer([2, 2], 4, [2], [1], [2, 2], num_classes=4)


def convnext():
    """A convolutional network whose blocks hold scales themselves."""
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    return ConvNeXt([CNBlockConfig(4, None, 2)], num_classes=4)


def normed():
    """A reparametrised layer, whose weights are those of another module."""
    return nn.Sequential(nn.Flatten(), nn.utils.parametrizations.weight_norm(nn.Linear(16, 4)))


def mlp():
    """A perceptron."""
    return MLP((1, 4, 4), 4, [5])


def bert():
    """A small BERT."""
    return Bert((6,), 4, 20, 8, 1, 2, 0.0, None, 0, 1, 0.1)


NETWORKS = {
    "mlp": (mlp, (1, 4, 4)),
    "cnn": (lambda: CNN((1, 4, 4), 4, [3, 5]), (1, 4, 4)),
    "encoder": (Attention, (1, 4, 4)),
    "lstm": (Recurrent, (1, 4, 4)),
    "vit": (vit, (3, 8, 8)),
    "swin": (swin, (3, 8, 8)),
    "convnext": (convnext, (3, 8, 8)),
    "held": (Held, (1, 4, 4)),
    "weight_norm": (normed, (1, 4, 4)),
    "bert": (bert, None),
}


def trained(make):
    """A network all of whose parameters and running statistics have moved away from where they began."""
    torch.manual_seed(0)
    net = make().eval()
    with torch.no_grad():
        for value in net.parameters():
            value.add_(torch.randn_like(value).mul(0.1))
        for name, value in net.named_buffers():
            if "running_" in name:
                value.add_(torch.rand_like(value))
    return net


@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_trained_is_left(name):
    net = trained(NETWORKS[name][0])
    before = {name: value.clone() for name, value in net.state_dict().items()}
    shared = [name for name, value in net.named_parameters(remove_duplicate=False) if name not in set(names(net))]
    torch.manual_seed(1)
    redraw(net)
    fresh = net.state_dict()
    assert not [key for key in names(net) if torch.equal(fresh[key], before[key])]
    assert all(torch.isfinite(value).all() for value in net.parameters())
    assert not [key for key in fresh if "running_mean" in key and fresh[key].any()]
    assert shared == [key for key, _ in net.named_parameters(remove_duplicate=False) if key not in set(names(net))]
    torch.manual_seed(2)
    other = copy.deepcopy(net)
    redraw(other)
    matrices = [key for key, value in net.named_parameters() if value.ndim > 1]
    assert not [key for key in matrices if torch.equal(other.state_dict()[key], fresh[key])]


def names(net):
    return [name for name, _ in net.named_parameters()]


def test_berts_output_stays_tied_to_its_embeddings():
    net = trained(bert)
    redraw(net)
    words, output = net.language.bert.embeddings.word_embeddings.weight, net.language.cls.predictions.decoder.weight
    assert words is output
    assert words.std().item() == pytest.approx(net.language.config.initializer_range, rel=0.2)  # Hugging Face's own


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_layers_of_torch_draw_what_a_new_network_would(name):
    net = trained(NETWORKS[name][0])
    torch.manual_seed(3)
    assert redraw(net) == []
    torch.manual_seed(3)
    new = NETWORKS[name][0]()
    assert all(torch.equal(value, new.state_dict()[key]) for key, value in net.state_dict().items())


def test_what_no_module_draws_is_like_what_it_was():
    net = trained(Held)
    with torch.no_grad():
        net.matrix.copy_(3 + 0.01 * torch.randn(4, 16))
    assert redraw(net) == ["matrix", "scale", "temperature"]
    assert net.matrix.mean().item() == pytest.approx(3, abs=0.01)
    assert net.matrix.std().item() == pytest.approx(0.01, rel=0.4)


@pytest.mark.parametrize("name", [name for name, (_, shape) in NETWORKS.items() if shape])
def test_the_cascade_reaches_every_parameter(name):
    make, shape = NETWORKS[name]
    net, changed = trained(make), []
    before = {name: value.clone() for name, value in net.named_parameters()}

    def watching(other, x, target):
        own = dict(other.named_parameters())
        changed.append({name for name in before if not torch.equal(own[name], before[name])})
        return input_gradient(other, x, target)

    rows = cascade(net, torch.randn(2, *shape), torch.tensor([0, 1]), watching, 0)
    assert len(rows) == len(layers(net)) == len(changed) - 1
    assert not changed[0]
    assert all(one <= other for one, other in pairwise(changed))
    assert changed[-1] == set(before)
    assert not any("conv" in name or "layers.0" in name for name in changed[1]), "the top comes first"
    assert all(torch.equal(value, before[name]) for name, value in net.named_parameters())


def test_the_cascade_reaches_every_parameter_of_bert():
    net = trained(bert)
    before = {name: value.clone() for name, value in net.named_parameters()}
    ids = torch.randint(5, 20, (2, 6))
    last = []

    def watching(other, x, target):
        last[:] = [name for name, value in other.named_parameters() if torch.equal(value, before[name])]
        return torch.randn(2, 1, 1, 6)

    cascade(net, ids, torch.tensor([0, 1]), watching, 0)
    assert last == []


def built(make, seed):
    torch.manual_seed(seed)
    return make()


class Sines(nn.Module):
    """A table of positions that is computed, and a layer that is drawn."""

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.arange(16.0).sin(), requires_grad=False)
        self.last, self.square = nn.Linear(16, 4), nn.Linear(16, 16)
        nn.init.eye_(self.square.weight)
        nn.init.zeros_(self.square.bias)


@pytest.mark.parametrize("make", [*(make for make, _ in NETWORKS.values()), Sines])
def test_drawn_networks_come_without_weights(make):
    assert not comes_with_weights(built(make, 0), built(make, 1))


@pytest.mark.parametrize("name", NETWORKS)
def test_loaded_networks_come_with_weights_frozen_or_not_and_with_a_new_head(name):
    make = NETWORKS[name][0]
    state = trained(make).state_dict()
    for wanted in (True, False):

        def loading(wanted=wanted):
            net = make().requires_grad_(wanted or name == "held")
            net.load_state_dict(state)
            return nn.Sequential(net, nn.Linear(4, 3))

        assert comes_with_weights(built(loading, 0), built(loading, 1))
