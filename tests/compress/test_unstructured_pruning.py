"""Unstructured pruning: which weights are pruned, that they stay zero, and what training starts from."""

import copy

import pytest
import torch
from torch import nn

from mlbench.compress.base import Point, weights
from mlbench.compress.pruning.importance import IMPORTANCES
from mlbench.compress.pruning.unstructured import Masked, Prune, masked, top
from mlbench.core.errors import SettingError
from mlbench.models.cnn import CNN
from mlbench.models.mlp import MLP
from mlbench.training.compute import Compute
from mlbench.training.learner import Learner
from mlbench.training.loop import fit
from tests.conftest import random_split
from tests.techniques import configured
from tests.training.test_theta import training


class Bench:
    """The context of a method, without files."""

    def __init__(self, net, settings=None):
        self.train, self.validation = random_split(64, seed=1), random_split(32, seed=2)
        self.whole, self.dropped = self.train, []
        self.training, self.compute = settings or training(epochs=2), Compute()
        self.generator = torch.Generator().manual_seed(0)
        self.initial = self.start = copy.deepcopy(net).eval()
        self.input_shape, self.outputs, self.fits = (1, 4, 4), 3, []
        self.classes = ["a", "b", "c"]

    def fit(self, net, title, learner=None, train=None, **changes):
        self.fits.append((copy.deepcopy(net), changes))
        settings = training(**{**vars(self.training), **changes})
        fit(net, train or self.train, learner or Learner(), settings, self.compute, torch.Generator().manual_seed(1))
        return net.eval()

    def accuracy(self, net, split=None):
        return 0.0

    def picture(self, x):
        raw = x * self.train.normalise.std + self.train.normalise.mean
        return raw.round().clamp(0, 255).to(torch.uint8).numpy()


def network(hidden=(8,)):
    torch.manual_seed(0)
    return MLP((1, 4, 4), 3, list(hidden))


def left(net):
    return {name: int((weight != 0).sum()) for name, weight in weights(net).items()}


@pytest.mark.parametrize("settings", [{"momentum": 0.9, "weight_decay": 0.1}, {"optimizer": "adam", "lr": 0.01}])
def test_pruned_weights_stay_zero_under_momentum_and_weight_decay(settings):
    # the trap: with only the gradient masked, momentum and weight decay bring them back
    net = network()
    context = Bench(net, training(epochs=3, **settings))
    context.fit(net, "first")
    masks = {name: top(weight.detach().abs(), weight.numel() // 4) for name, weight in weights(net).items()}
    result = masked(context.fit(net, "masked", Masked(masks)), masks)
    for name, weight in weights(result).items():
        assert torch.equal(weight != 0, masks[name])
        assert not torch.signbit(weight[~masks[name]]).any()  # -0.0 would cost as much as a weight
    assert (result[1].bias != network()[1].bias).all()


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_the_smallest_weights_are_pruned(scope):
    net = network()
    before = {name: weight.detach().clone() for name, weight in weights(net).items()}
    method = configured(Prune, fraction=0.25, scope=scope, last_layer=1.0, finetune_epochs=0)
    (point,) = method.compress(Point("dense", net), Bench(net))
    sizes = torch.cat([weight.abs().flatten() for weight in before.values()])
    for name, weight in weights(point.net).items():
        pool = sizes if scope == "global" else before[name].abs().flatten()
        limit = pool.quantile(0.75)
        assert torch.equal(weight, before[name].where(before[name].abs() > limit, 0.0))
    assert sum(left(point.net).values()) == 0.25 * sizes.numel()


def test_output_units_and_biases_are_never_pruned():
    net = network()
    bias = net[-1].bias.detach().clone()
    (point,) = configured(Prune, fraction=0.02, scope="layer", finetune_epochs=0).compress(
        Point("dense", net), Bench(net)
    )
    assert point.net[-1].weight.shape == (3, 8)
    assert left(point.net) == {"1.weight": round(0.02 * 128), "3.weight": round((1 - 0.98 / 2) * 24)}
    assert torch.equal(point.net[-1].bias, bias)


def test_a_step_is_a_share_of_the_original_or_of_the_remaining_weights():
    assert configured(Prune, fraction=0.5, step=0.2, step_of="original").shares() == pytest.approx([0.8, 0.6, 0.5])
    assert configured(Prune, fraction=0.5, step=0.2).shares() == pytest.approx([0.8, 0.64, 0.512, 0.5])
    assert configured(Prune, fraction=0.5).shares() == [0.5]
    for step in (0.1, 0.05, 0.3):  # 1 - 9 * .1 is more than .1, by rounding
        rounds = configured(Prune, fraction=0.1, step=step, step_of="original").shares()
        assert len(rounds) == round(0.9 / step)
        assert rounds[-1] == 0.1


@pytest.mark.parametrize("extra", [{"momentum": 0.9, "weight_decay": 0.1}, {"optimizer": "adam", "lr": 0.01}])
def test_pruned_weights_stay_zero_at_each_step(extra):
    """With only their gradients masked, momentum and weight decay would move them away from zero."""
    net = network()
    masks = {name: torch.rand_like(weight) < 0.4 for name, weight in weights(net).items()}
    seen = []

    class Watched(Masked):
        def loss(self, net, batch):
            seen.append([bool((weight[~masks[name]] == 0).all()) for name, weight in weights(net).items()])
            return super().loss(net, batch)

    settings = training(epochs=2, batch_size=16, **extra)
    for parameter in net.parameters():  # on their way, before the masks come
        parameter.data += 0.1
    fit(net, random_split(64), Watched(masks), settings, Compute(), torch.Generator().manual_seed(0))
    assert len(seen) == 8
    assert all(map(all, seen))
    assert all((weight[masks[name]] != 0).all() for name, weight in weights(net).items())


def test_the_last_layer_at_half_the_rate():
    # Frankle & Carbin: 20 % a round, 10 % of the output layer
    net, method = network(), configured(Prune, fraction=0.8**4, step=0.2, scope="layer", finetune_epochs=0)
    for number, point in enumerate(method.compress(Point("dense", net), Bench(net)), start=1):
        counts = left(point.net)
        assert counts == {"1.weight": round(0.8**number * 128), "3.weight": round(0.9**number * 24)}


def test_a_share_for_each_layer():
    net = network()
    (point,) = configured(Prune, layers=[0.125, 0.5], finetune_epochs=0).compress(Point("dense", net), Bench(net))
    assert left(point.net) == {"1.weight": 16, "3.weight": 12}
    with pytest.raises(SettingError, match="2 layers"):
        configured(Prune, layers=[0.5]).check(network())


def test_a_ticket_starts_from_the_initial_weights():
    net = network()
    context = Bench(net)
    dense = context.fit(copy.deepcopy(net), "dense")
    list(configured(Prune, fraction=0.3, step=0.4, rewind="initial").compress(Point("dense", dense), context))
    for start, changes in context.fits[1:]:
        for name, weight in weights(start).items():
            alive = weight != 0
            assert torch.equal(weight[alive], weights(net)[name][alive])
        assert torch.equal(start[1].bias, net[1].bias)
        assert changes == {"epochs": 2}  # trained as long as the dense network


def test_early_and_reinitialised_weights():
    net = network()
    context = Bench(net, training(epochs=3))
    list(
        configured(Prune, fraction=0.5, rewind="early", rewind_epochs=2).compress(
            Point("dense", copy.deepcopy(net)), context
        )
    )
    (_, early), (start, changes) = context.fits
    assert (early, changes) == ({"epochs": 2}, {"epochs": 1})
    once = Bench(net, training(epochs=2))
    reached = once.fit(copy.deepcopy(net), "by hand")
    alive = start[1].weight != 0
    assert torch.equal(start[1].weight[alive], reached[1].weight[alive])
    again = Bench(net)
    method = configured(Prune, fraction=0.5, rewind="initial", control=True)
    points = list(method.compress(Point("dense", copy.deepcopy(net)), again))
    control, ticket = (fitted for fitted, _ in again.fits)
    assert [point.stage for point in points] == ["control 0.5", "prune 0.5"]
    assert torch.equal(control[1].weight != 0, ticket[1].weight != 0)
    assert not torch.equal(control[1].weight, ticket[1].weight)


def test_importances_by_hand():
    net = network(())
    context = Bench(net)
    context.train = random_split(20, seed=3)
    batch = context.train.batch(torch.arange(20))
    weight = net[1].weight
    single = []
    for x, y in zip(batch.x, batch.y, strict=True):
        loss = nn.functional.cross_entropy(net(x[None]), y[None])
        single.append(torch.autograd.grad(loss, weight)[0])
    mean, square = torch.stack(single).mean(0), torch.stack(single).square().mean(0)
    expected = {
        "magnitude": weight.abs(),
        "gradient": mean.abs(),
        "taylor": (weight * mean).abs(),
        "fisher": weight.square() * square / 2,
    }
    for name, scores in expected.items():
        torch.testing.assert_close(
            IMPORTANCES[name](net, context, 20)["1.weight"], scores.detach(), rtol=1e-4, atol=1e-7
        )
    drawn = IMPORTANCES["random"](net, context, 20)["1.weight"]
    assert drawn.unique().numel() == drawn.numel()


@pytest.mark.parametrize("importance", IMPORTANCES)
def test_every_importance_on_convolutions(importance):
    torch.manual_seed(0)
    net = CNN((1, 4, 4), 3, [4, 4])
    method = configured(Prune, fraction=0.5, importance=importance, finetune_epochs=1)
    (point,) = method.compress(Point("dense", net), Bench(net))
    total = sum(weight.numel() for weight in weights(net).values())
    assert sum(left(point.net).values()) == round(0.5 * total)


def test_weights_pruned_by_an_earlier_stage_stay_zero():
    net = network()
    (first,) = configured(Prune, fraction=0.5, finetune_epochs=1).compress(Point("dense", net), Bench(net))
    before = {name: weight != 0 for name, weight in weights(first.net).items()}
    (second,) = configured(Prune, fraction=0.2, finetune_epochs=1).compress(first, Bench(net))
    for name, weight in weights(second.net).items():
        assert not ((weight != 0) & ~before[name]).any()
    assert sum(left(second.net).values()) == round(0.2 * 152)


@pytest.mark.parametrize("wrong", [{"fraction": 0}, {"fraction": 1}, {"step": 1.0}, {"layers": [0.0]}, {"samples": 0}])
def test_settings_out_of_range(wrong):
    with pytest.raises(SettingError):
        configured(Prune, **wrong)
