"""Quadratic penalties: each importance against a plain loop, and the effect of every strength."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from mlbench.core.errors import SettingError
from mlbench.data.output_heads import GrowingHead, OwnHeads, SharedHead
from mlbench.lifelong.bounds.finetune import Finetune
from mlbench.lifelong.regularisation.ewc import EWC
from mlbench.lifelong.regularisation.l2 import L2
from mlbench.lifelong.regularisation.mas import MAS
from mlbench.lifelong.regularisation.rwalk import RWalk
from mlbench.lifelong.regularisation.scp import SCP
from mlbench.lifelong.regularisation.si import SI
from mlbench.models.cnn import CNN
from mlbench.models.mlp import MLP
from mlbench.training.compute import Compute
from mlbench.training.loop import fit
from mlbench.training.theta import Theta
from tests.lifelong.test_base import begin_method, learn, split_digits
from tests.training.test_theta import training

PENALTIES = {
    "ewc": (EWC, {"fisher": "empirical", "samples": 50, "decay": 1.0}),
    "si": (SI, {"damping": 0.1}),
    "mas": (MAS, {"samples": 50}),
    "rwalk": (RWalk, {"fisher_weight": 0.3, "interval": 2, "damping": 0.01}),
    "scp": (SCP, {"samples": 50, "slices": 20}),
    "l2": (L2, {}),
}
NETS = {
    "mlp": lambda: MLP((1, 4, 4), 6, [7]),
    "cnn": lambda: CNN((1, 4, 4), 6, [3, 4]),
}
HEADS = {"task": OwnHeads(3), "domain": SharedHead(), "class": GrowingHead(3, 3)}


def penalty_method(name, strength=1.0, penalty="proximal", **changes):
    kind, settings = PENALTIES[name]
    return kind(strength=strength, penalty=penalty, **{**settings, **changes})


def unbound(name, heads="domain", **changes):
    """A method without a stream, for direct calls."""
    method = penalty_method(name, **changes)
    method.heads, method.generator = HEADS[heads], torch.Generator().manual_seed(0)
    return method


def network(kind="mlp"):
    torch.manual_seed(0)
    return NETS[kind]()


def vector(net):
    return torch.nn.utils.parameters_to_vector(net.parameters()).detach().clone()


def gradient(net, value):
    parts = torch.autograd.grad(value, list(net.parameters()), materialize_grads=True)
    return torch.cat([part.flatten() for part in parts])


def logits_of(net, heads, data):
    """The logits [1, classes] of each example by itself, in eval mode, and its label [1]."""
    net.eval()
    for i in range(len(data)):
        batch = data.batch(torch.tensor([i]))
        yield HEADS[heads](net(batch.x), batch.task), batch.y


@pytest.mark.parametrize("penalty", ["proximal", "gradient"])
@pytest.mark.parametrize("name", PENALTIES)
def test_every_strength_has_its_effect_and_zero_is_finetuning_bit_for_bit(name, penalty):
    """A published SI compared the live weights with themselves, so that no strength did anything."""
    settings = training(lr=0.05, momentum=0.5, weight_decay=0.01)

    def learned(method):
        stream = split_digits("domain")
        stream.tasks = stream.tasks[:3]
        torch.manual_seed(0)
        return vector(learn(begin_method(method, stream, settings), stream, MLP((1, 8, 8), 2, [8]), settings))

    plain, nothing, once, twice = (
        learned(method) for method in (Finetune(), *(penalty_method(name, s, penalty) for s in (0.0, 0.05, 0.1)))
    )
    assert torch.equal(plain, nothing)
    assert (plain - once).norm() > 1e-3 * plain.norm()
    assert (once - twice).norm() > 1e-3 * plain.norm()


@pytest.mark.parametrize("penalty", ["proximal", "gradient"])
@pytest.mark.parametrize("strength", [0.0, 2.0])
def test_si_follows_the_path_of_plain_sgd(split, strength, penalty):
    """Drop and importance over two tasks against gradient descent written out, with the penalty and without."""
    lr, damping, settings = 0.05, 0.1, training(lr=0.05, batch_size=10)
    net, method, tasks = (
        network(),
        unbound("si", strength=strength, penalty=penalty),
        [split(40, seed=s) for s in (0, 1)],
    )
    value, importance, anchor = vector(net), 0.0, vector(net)
    for number, data in enumerate(tasks):
        draws = torch.Generator().manual_seed(number)
        order, departure, drop = torch.randperm(40, generator=draws), value.clone(), torch.zeros_like(value)
        theta = fit(net, data, method, settings, Compute(), torch.Generator().manual_seed(number))
        copy = network()
        for index in order.split(10):
            torch.nn.utils.vector_to_parameters(value, copy.parameters())
            batch = data.batch(index)
            g = gradient(copy, F.cross_entropy(copy(batch.x), batch.y))
            weight = 2 * strength * importance
            if penalty == "gradient":
                after = value - lr * (g + weight * (value - anchor))
            else:
                after = (value - lr * g + lr * weight * anchor) / (1 + lr * weight)
            drop -= g * (after - value)
            value = after
        torch.testing.assert_close(theta.value, value, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(method.drop, drop, rtol=1e-3, atol=1e-7)
        importance = importance + drop.clamp(min=0) / ((value - departure) ** 2 + damping)
        anchor = value.clone()
        method.end_task(net, theta, SimpleNamespace(train=data))
        torch.testing.assert_close(method.importance, importance, rtol=1e-3, atol=1e-6)
        torch.testing.assert_close(method.anchor, anchor, rtol=1e-4, atol=1e-6)
        assert not method.drop.any()
        assert torch.equal(method.departure, theta.value)


def test_si_counts_a_step_that_raised_the_loss_as_nothing():
    net = torch.nn.Linear(3, 1, bias=False)
    theta, method = Theta(net), unbound("si")
    method.start(net, theta)
    theta.grad.copy_(torch.tensor([1.0, 1.0, 0.0]))
    method.adjust(net, theta)
    theta.value.add_(torch.tensor([-0.5, 0.5, 0.7]))  # down the slope, up it, along it
    method.after_step(net, theta, lambda: 0.1)
    method.end_task(net, theta, None)
    torch.testing.assert_close(method.importance, torch.tensor([0.5 / (0.25 + 0.1), 0.0, 0.0]))


@pytest.mark.parametrize("name", ["si", "rwalk"])
def test_an_interrupted_path_resumes(split, name):
    def walk(method, net, theta, steps):
        for step in steps:
            batch = method.batch(split(8, seed=step).batch(torch.arange(8)))
            theta.grad.copy_(gradient(net, F.cross_entropy(net(batch.x), batch.y)))
            method.adjust(net, theta)
            theta.value.add_(theta.grad, alpha=-0.1)
            method.after_step(net, theta, lambda: 0.1)

    net, method = network(), unbound(name)
    theta = Theta(net)
    method.start(net, theta)
    walk(method, net, theta, range(5))
    method.end_task(net, theta, SimpleNamespace(train=split(20)))
    method.start(net, theta)
    walk(method, net, theta, range(5, 8))
    saved = {key: part.clone() if torch.is_tensor(part) else part for key, part in method.state().items()}
    other, again = network(), unbound(name)
    again.load_state(saved, other)
    other.load_state_dict(net.state_dict())
    there = Theta(other)
    again.start(other, there)
    for method_now, net_now, theta_now in ((method, net, theta), (again, other, there)):
        walk(method_now, net_now, theta_now, range(8, 13))
        method_now.end_task(net_now, theta_now, SimpleNamespace(train=split(20)))
    assert torch.equal(theta.value, there.value)
    assert torch.equal(method.importance, again.importance)
    assert torch.equal(method.anchor, again.anchor)
    assert method.importance.any()


@pytest.mark.parametrize("heads", HEADS)
@pytest.mark.parametrize("kind", NETS)
def test_mas_is_the_mean_size_of_single_gradients(split, kind, heads):
    """Through the closed form and through vmap, against one backward pass an example."""
    net, method, data = network(kind), unbound("mas", heads, samples=100), split(12, task=1)
    expected = torch.stack([gradient(net, out.square().sum()).abs() for out, _ in logits_of(net, heads, data)]).mean(0)
    theta = Theta(net)
    method.start(net, theta)
    for times in (1, 2):
        method.end_task(net, theta, SimpleNamespace(train=data))
        torch.testing.assert_close(method.importance, times * expected, rtol=1e-3, atol=1e-6)
    of_the_mean = gradient(net, torch.stack([o.square().sum() for o, _ in logits_of(net, heads, data)]).mean()).abs()
    assert expected.sum() > 1.05 * of_the_mean.sum()
    assert torch.equal(method.anchor, theta.value)
    assert method.anchor.data_ptr() != theta.value.data_ptr()


def test_mas_draws_the_given_number_of_examples(split):
    net, method, data, counts = network(), unbound("mas", samples=7), split(30), []
    norm = method.squared_norm
    method.squared_norm = lambda net, batch: (counts.append(len(batch.y)), norm(net, batch))[1]
    theta = Theta(net)
    method.start(net, theta)
    method.end_task(net, theta, SimpleNamespace(train=data))
    assert sum(counts) == 7


@pytest.mark.parametrize("heads", HEADS)
@pytest.mark.parametrize("kind", NETS)
def test_scp_is_the_mean_over_slices_of_squared_gradients_of_the_mean_answer(split, kind, heads, monkeypatch):
    monkeypatch.setattr("mlbench.lifelong.regularisation.quadratic_penalty.CHUNK", 5)
    net, data = network(kind), split(12, task=1)
    method = unbound("scp", heads, samples=100, slices=9)
    draws = torch.Generator().manual_seed(0)
    torch.randperm(12, generator=draws)  # the examples
    slices = F.normalize(torch.randn(9, 6 if heads == "domain" else 3, generator=draws), dim=1)
    squares = []
    for direction in slices:
        answer = torch.stack([out[0] for out, _ in logits_of(net, heads, data)]).mean(0)
        squares.append(gradient(net, direction @ answer).square())
    theta = Theta(net)
    method.start(net, theta)
    method.end_task(net, theta, SimpleNamespace(train=data))
    expected = torch.stack(squares).mean(0)
    torch.testing.assert_close(method.importance, expected, rtol=1e-3, atol=1e-5 * expected.max().item())
    method.end_task(net, theta, SimpleNamespace(train=data))
    assert method.importance.sum() > 1.2 * expected.sum()
    assert torch.equal(method.anchor, theta.value)


def test_rwalk_is_fisher_plus_score_of_the_path(split):
    """Two tasks of steps by hand: moving average, score where positive, mean of the tasks' scores, both divided."""
    weight, interval, damping, net = 0.3, 2, 0.01, network()
    method = unbound("rwalk", strength=0.0, fisher_weight=weight, interval=interval, damping=damping)
    theta, fisher, past = Theta(net), None, None
    for task in range(2):
        method.start(net, theta)
        score, drop, departure = torch.zeros_like(theta.value), torch.zeros_like(theta.value), theta.copy()
        for step in range(5):  # tasks end in the middle of an interval, and the next begins with a whole one
            data = split(6, seed=10 * task + step)
            batch = method.batch(data.batch(torch.arange(6)))
            theta.grad.copy_(gradient(net, F.cross_entropy(net(batch.x), batch.y)))
            method.adjust(net, theta)
            before = theta.copy()
            theta.value.add_(theta.grad + 0.1 * torch.randn(len(before)), alpha=-0.2)
            drop -= theta.grad * (theta.value - before)
            method.after_step(net, theta, lambda: 0.2)
            if (step + 1) % interval == 0:
                parts = [gradient(net, F.cross_entropy(out, y)).square() for out, y in logits_of(net, "domain", data)]
                fresh = torch.stack(parts).mean(0)
                fisher = fresh if fisher is None else weight * fresh + (1 - weight) * fisher
                score += drop.clamp(min=0) / (fisher * (theta.value - departure) ** 2 / 2 + damping)
                drop, departure = torch.zeros_like(drop), theta.copy()
        torch.testing.assert_close(method.fisher, fisher, rtol=1e-3, atol=1e-8)
        torch.testing.assert_close(method.score, score, rtol=1e-3, atol=1e-6)
        past = score if past is None else (past + score) / 2
        method.end_task(net, theta, SimpleNamespace(train=data))
        expected = fisher / fisher.max() + past / past.max()
        torch.testing.assert_close(method.importance, expected, rtol=1e-3, atol=1e-6)
        assert torch.equal(method.anchor, theta.value)
        assert not method.score.any()


def test_rwalk_has_a_fisher_after_fewer_steps_than_an_interval(split):
    net, method = network(), unbound("rwalk", interval=1000)
    theta = Theta(net)
    method.start(net, theta)
    method.end_task(net, theta, SimpleNamespace(train=split(20)))
    assert method.importance.isfinite().all()
    assert method.importance.max() == 1


def test_l2_anchors_all_parameters_alike(split):
    net, method = network(), unbound("l2")
    theta = Theta(net)
    method.start(net, theta)
    assert not method.active
    for _ in range(3):
        theta.value.add_(1.0)
        method.end_task(net, theta, SimpleNamespace(train=split(5)))
        assert torch.equal(method.importance, torch.ones_like(theta.value))
        assert torch.equal(method.anchor, theta.value)
    theta.value.add_(1.0)
    assert not torch.equal(method.anchor, theta.value)


@pytest.mark.parametrize(
    ("method", "name", "value"),
    [
        ("si", "damping", 0.0),
        ("mas", "samples", 0),
        ("scp", "slices", 0),
        ("scp", "samples", 0),
        ("rwalk", "fisher_weight", 0.0),
        ("rwalk", "interval", 0),
        ("rwalk", "damping", 0.0),
        ("l2", "strength", -1.0),
    ],
)
def test_settings_out_of_range_are_refused(method, name, value):
    with pytest.raises(SettingError, match=name):
        penalty_method(method, **{name: value})
