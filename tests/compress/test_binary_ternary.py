"""Binary and ternary networks."""

import math

import pytest
import torch
import torch.nn.functional as F

from mlbench.compress.base import Point, weights
from mlbench.compress.quantisation.binary import Binary, limit
from mlbench.compress.quantisation.straight_through import StraightThrough
from mlbench.compress.quantisation.ternary import Ternary
from mlbench.models.mlp import MLP
from mlbench.runs.codec import encodings
from mlbench.training.compute import Compute
from mlbench.training.loop import fit
from mlbench.training.theta import Theta
from tests.compress.test_unstructured_pruning import Bench, network
from tests.conftest import random_split
from tests.techniques import configured
from tests.training.test_theta import training


def sign(real):
    return torch.where(real >= 0, 0.5, -0.5)


def test_the_step_is_taken_from_the_real_weights_with_the_gradient_at_the_quantised_ones():
    net, split = network(), random_split(8)
    real = {name: p.detach().clone() for name, p in net.named_parameters()}
    fit(net, split, StraightThrough(sign), training(batch_size=8, lr=0.1), Compute(), torch.Generator().manual_seed(0))
    quantised = {name: sign(p) if name in weights(net) else p for name, p in real.items()}
    quantised = {name: p.clone().requires_grad_() for name, p in quantised.items()}
    batch = split.batch(torch.arange(8))
    loss = F.cross_entropy(torch.func.functional_call(net, quantised, (batch.x,)), batch.y)
    gradients = dict(zip(quantised, torch.autograd.grad(loss, list(quantised.values())), strict=True))
    for name, p in net.named_parameters():
        torch.testing.assert_close(p.detach(), real[name] - 0.1 * gradients[name], atol=1e-6, rtol=1e-5)


def test_small_steps_add_up_until_a_sign_turns():
    # the trap: updates of the quantised weights themselves would be lost
    net = network()
    before = {name: sign(weight) for name, weight in weights(net).items()}
    context = Bench(net, training(epochs=30, lr=0.01))
    context.fit(net, "", StraightThrough(sign))
    assert any((sign(weight) != before[name]).any() for name, weight in weights(net).items())


def test_real_weights_stay_within_the_limit():
    net = network()
    Bench(net).fit(net, "", StraightThrough(sign, lambda real: 0.03), lr=1.0)
    assert all(weight.abs().max() <= 0.03 for weight in weights(net).values())
    assert net[1].bias.abs().max() > 0.03


def test_validation_leaves_the_real_weights():
    net, learner = network(), StraightThrough(sign)
    learner.start(net, Theta(net))
    before = net[1].weight.detach().clone()
    learner.loss(net.eval(), random_split(8).batch(torch.arange(8)))
    assert torch.equal(net[1].weight, before)


@pytest.mark.parametrize("mode", ["deterministic", "stochastic"])
def test_one_bit_a_weight(mode):
    torch.manual_seed(0)
    net = MLP((1, 4, 4), 3, [64], batch_norm=True)
    (point,) = configured(Binary, mode=mode, finetune_epochs=2).compress(Point("dense", net), Bench(net))
    for weight in weights(point.net).values():
        assert weight.unique().tolist() == pytest.approx([-limit(weight), limit(weight)])
    assert limit(point.net[1].weight) == pytest.approx(math.sqrt(1.5 / 80))
    array = point.net[1].weight.detach().numpy()
    assert len(encodings.encode(array, entropy=False)) == array.size // 8 + 12


def test_the_draw_follows_the_hard_sigmoid():
    real = torch.linspace(-0.3, 0.3, 5)[None].expand(20_000, 5).contiguous()
    a = limit(real)
    torch.manual_seed(0)
    drawn = configured(Binary, mode="stochastic").draw(real)
    expected = ((real[0] / a + 1) / 2).clamp(0, 1)
    assert (drawn > 0).double().mean(0).tolist() == pytest.approx(expected.tolist(), abs=0.015)


def test_ternary_by_hand():
    # mean of |w| is .5, the threshold .35, a the mean of .5, .9 and 1
    found = configured(Ternary).quantise(torch.tensor([[0.5, -0.9, 1.0, 0.1, -0.2, 0.3]]))
    assert found.tolist()[0] == pytest.approx([0.8, -0.8, 0.8, 0, 0, 0])
    assert not torch.signbit(found[0, 3:]).any()
    assert torch.equal(configured(Ternary).quantise(torch.zeros(2, 2)), torch.zeros(2, 2))


def test_three_values_in_each_layer():
    net = network([12])
    (point,) = configured(Ternary, finetune_epochs=2).compress(Point("dense", net), Bench(net))
    for weight in weights(point.net).values():
        low, zero, high = weight.unique().tolist()
        assert (low, zero) == (-high, 0)


@pytest.mark.parametrize("kind", [Binary, Ternary])
def test_from_scratch_depends_on_from_dense(kind):
    assert configured(kind, from_dense=False).from_scratch
    assert not configured(kind, from_dense=True).from_scratch
