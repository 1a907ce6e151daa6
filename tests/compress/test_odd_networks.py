"""Every method on networks with layers that it does not know: the right network comes out, or a refusal."""

import copy

import pytest
import torch
from torch import nn

from mlbench.compress.base import Point, weights
from mlbench.compress.factorisation.low_rank import LowRank
from mlbench.compress.factorisation.separable import Separable
from mlbench.compress.pruning.importance import IMPORTANCES
from mlbench.compress.pruning.neuron_importance import IMPORTANCES as NEURON_IMPORTANCES
from mlbench.compress.pruning.structured import PruneNeurons
from mlbench.compress.pruning.unstructured import Prune
from mlbench.compress.quantisation.binary import Binary
from mlbench.compress.quantisation.cluster import Cluster
from mlbench.compress.quantisation.int8 import Int8
from mlbench.compress.quantisation.ternary import Ternary
from mlbench.core.errors import UserError
from mlbench.models import surgery
from mlbench.models.logits import with_logits
from tests.compress.odd_networks import NETWORKS, SameConv2d, StandardConv2d
from tests.compress.test_unstructured_pruning import Bench
from tests.conftest import random_split
from tests.techniques import configured
from tests.training.test_theta import training

SHAPE = (3, 16, 16)
REFUSED = {PruneNeurons: ("instance norm", "recurrent")}
ONCE = {
    Prune: {"fraction": 0.5, "step": None},
    Cluster: {"bits": 2},
    PruneNeurons: {"fraction": 0.5, "rounds": 1},
    LowRank: {"fraction": 0.4, "energy": None},
    Int8: {"finetune_epochs": 1},
}
METHODS = [Prune, PruneNeurons, Cluster, Binary, Ternary, LowRank, Separable, Int8]


def odd(name):
    torch.manual_seed(0)
    return with_logits(NETWORKS[name](SHAPE, 3), 3).eval()


def bench(net):
    context = Bench(net, training(epochs=1, batch_size=8, lr=0.01))
    context.train = context.whole = context.validation = random_split(16, shape=SHAPE)
    context.input_shape = SHAPE
    return context


@pytest.mark.parametrize("cls", METHODS)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_method_leaves_a_network_that_its_file_describes(name, cls):
    if cls is Int8:
        pytest.importorskip("torchao")
    net, method = odd(name), configured(cls, **{"finetune_epochs": 1, **ONCE.get(cls, {})})
    untrained = copy.deepcopy(net)
    if name in REFUSED.get(cls, ()):
        with pytest.raises(UserError, match="prune_neurons"):
            next(method.compress(Point("dense", net), bench(net)))
        return
    method.check(net)
    for point in method.compress(Point("dense", net), bench(net)):
        again, x = copy.deepcopy(untrained), torch.randn(2, *SHAPE)
        surgery.restore(again, getattr(point.net, "replaced", {}))
        again.load_state_dict(point.net.state_dict())
        with torch.no_grad():
            found = point.net.eval()(x)
            assert found.shape == (2, 3)
            # weights of one sign have no deviation to be standardised by
            torch.testing.assert_close(again.eval()(x), found, rtol=1e-3, atol=1e-3, equal_nan=name == "standard")


@pytest.mark.parametrize("kind", IMPORTANCES)
def test_frozen_weights_have_an_importance_and_stay_frozen(kind):
    net = odd("frozen")
    (point,) = configured(Prune, importance=kind, fraction=0.5, step=None, finetune_epochs=1).compress(
        Point("dense", net), bench(net)
    )
    assert not point.net[0].weight.requires_grad
    assert point.net[0].weight.grad is None
    zeros = sum(int((weight == 0).sum()) for weight in weights(point.net).values())
    assert zeros == pytest.approx(sum(weight.numel() for weight in weights(net).values()) / 2, abs=1)


@pytest.mark.parametrize("kind", NEURON_IMPORTANCES)
def test_neurons_of_frozen_layers_have_an_importance_and_stay_frozen(kind):
    net = odd("frozen")
    method = configured(PruneNeurons, importance=kind, fraction=0.5, rounds=1, finetune_epochs=1)
    (point,) = method.compress(Point("dense", net), bench(net))
    assert [p.requires_grad for p in point.net[0].parameters()] == [False, False]
    assert point.net[0].weight.shape == (4, 3, 3, 3)
    assert point.net[3].weight.requires_grad


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("attending", ["attention.in_proj_weight", "attention.out_proj.weight"]),
        ("recurrent", ["rows.weight_ih_l0", "rows.weight_hh_l0"]),
    ],
)
def test_the_weights_of_attention_and_recurrent_layers_count(name, expected):
    net = odd(name)
    assert set(expected) <= weights(net).keys()
    assert "place" not in weights(net)
    (point,) = configured(Prune, fraction=0.1, step=None, finetune_epochs=0).compress(Point("dense", net), bench(net))
    kept = {n: int((w != 0).sum()) for n, w in weights(point.net).items()}
    assert sum(kept.values()) == round(0.1 * sum(w.numel() for w in weights(net).values()))
    for part in expected:
        assert kept[part] < weights(net)[part].numel()


@pytest.mark.parametrize("cls", [LowRank, Separable])
def test_a_convolution_of_ones_own_class_keeps_it(cls):
    net = nn.Sequential(SameConv2d(8, 8, 3, stride=2), nn.ReLU(), StandardConv2d(8, 8, 3), nn.Flatten())
    with torch.no_grad():  # what both methods reproduce exactly: a product of a depthwise and a pointwise convolution
        net[0].weight.copy_(torch.randn(8, 1, 1, 1) * torch.randn(1, 8, 3, 3))
    before, x = copy.deepcopy(net), torch.randn(2, 8, 9, 9)
    settings = {"fraction": 0.5, "energy": None} if cls is LowRank else {}
    (point,) = configured(cls, finetune_epochs=0, **settings).compress(Point("dense", net), bench(net))
    assert type(point.net[0][0]) is SameConv2d
    assert type(point.net[2]) is StandardConv2d  # it does not compute with its weights as they are
    torch.testing.assert_close(point.net(x), before(x), rtol=1e-4, atol=1e-4)
