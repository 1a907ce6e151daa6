from types import SimpleNamespace

import pytest
import torch

from mlbench.core.errors import SettingError
from mlbench.data.output_heads import SharedHead
from mlbench.lifelong.regularisation.ewc import EWC
from mlbench.models.mlp import MLP
from mlbench.training.loop import make_optimizer, one_step
from mlbench.training.theta import Theta
from tests.training.test_theta import training


def ewc(**changes):
    values = {"strength": 0.7, "fisher": "empirical", "samples": 1000, "decay": 1.0, "penalty": "proximal"}
    method = EWC(**{**values, **changes})
    method.heads, method.generator = SharedHead(), torch.Generator().manual_seed(0)
    return method


def small_theta(size=6):
    net = torch.nn.Linear(size, 1, bias=False)
    return net, Theta(net)


def test_the_anchor_is_the_weighted_mean_at_any_scale_of_the_importance():
    """Importances whose products with a parameter are near the smallest numbers, too."""
    net, theta = small_theta()
    method = ewc()
    method.start(net, theta)
    importances = iter([torch.full((6,), 1e-33), torch.full((6,), 3e-33)])
    method.task_importance = lambda *_: next(importances)
    for value in (1.0, 2.0):
        theta.value.fill_(value)
        method.end_task(net, theta, None)
    torch.testing.assert_close(method.anchor, torch.full((6,), 1.75), rtol=1e-4, atol=0)


def test_penalties_of_all_tasks_collapse_exactly_into_one(split):
    """Against the plain sum over tasks of F_i (theta - theta_i)^2, up to a constant."""
    torch.manual_seed(0)
    net = MLP((1, 4, 4), 3, [5])
    theta, method = Theta(net), ewc(decay=0.6)
    method.start(net, theta)
    fishers, anchors = [], []
    for i in range(4):
        theta.value.add_(torch.randn_like(theta.value) * 0.3)
        before = method.importance.clone()
        method.end_task(net, theta, SimpleNamespace(train=split(30, seed=i)))
        fishers.append(method.importance - 0.6 * before)
        anchors.append(theta.copy())

    def summed(at):
        return sum(
            0.6 ** (3 - i) * (f * (at - a) ** 2).sum() for i, (f, a) in enumerate(zip(fishers, anchors, strict=True))
        )

    def collapsed(at):
        return (method.importance * (at - method.anchor) ** 2).sum()

    here, there = torch.randn_like(theta.value), torch.randn_like(theta.value)
    torch.testing.assert_close(summed(here) - summed(there), collapsed(here) - collapsed(there), rtol=1e-4, atol=1e-4)


def test_gradient_form_adds_the_gradient_of_the_penalty():
    net, theta = small_theta()
    method = ewc(penalty="gradient")
    method.importance, method.anchor = torch.rand(6), torch.randn(6)
    method.start(net, theta)
    method.adjust(net, theta)
    at = theta.copy().requires_grad_()
    (0.7 * (method.importance * (at - method.anchor) ** 2).sum()).backward()
    torch.testing.assert_close(theta.grad, at.grad)


def test_proximal_step_minimises_penalty_plus_distance():
    net, theta = small_theta()
    method = ewc(strength=3.0)
    method.importance, method.anchor = torch.rand(6), torch.randn(6)
    method.start(net, theta)
    start = theta.copy().double()
    method.after_step(net, theta, lambda: 0.2)
    point = start.clone().requires_grad_()
    solver = torch.optim.LBFGS(
        [point], max_iter=200, tolerance_grad=1e-14, tolerance_change=1e-16, line_search_fn="strong_wolfe"
    )

    def objective():
        solver.zero_grad()
        penalty = 3.0 * (method.importance * (point - method.anchor) ** 2).sum()
        value = penalty + ((point - start) ** 2).sum() / (2 * 0.2)
        value.backward()
        return value

    solver.step(objective)
    torch.testing.assert_close(theta.value.double(), point.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("penalty", ["proximal", "gradient"])
@pytest.mark.parametrize(
    "settings",
    [
        {"lr": 0.05},
        {"lr": 0.01, "momentum": 0.9},
        {"optimizer": "adam", "lr": 1e-3},
        {"optimizer": "adamw", "lr": 1e-3},
    ],
)
def test_both_forms_come_to_rest_at_the_minimum_of_loss_plus_penalty(settings, penalty):
    """Loss h (theta - a)^2 / 2 plus s F (theta - b)^2 is least at (h a + 2 s F b) / (h + 2 s F)."""
    net, theta = small_theta()
    h, a, s = torch.tensor([1.0, 2.0, 0.5, 1.0, 3.0, 1.0]), torch.randn(6), 0.7
    method = ewc(strength=s, penalty=penalty)
    method.importance, method.anchor = torch.tensor([0.5, 1.0, 2.0, 0.1, 1.0, 3.0]), torch.randn(6)
    method.start(net, theta)
    optimizer = make_optimizer(theta, training(**settings), [])
    for _ in range(6000):
        theta.grad.copy_(h * (theta.value - a))
        method.adjust(net, theta)
        optimizer.step()
        method.after_step(net, theta, lambda: one_step(optimizer))
    weight = 2 * s * method.importance
    best = (h * a + weight * method.anchor) / (h + weight)
    torch.testing.assert_close(theta.value, best, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("settings", [{"lr": 1e-3}, {"lr": 1e-3, "momentum": 0.5}])
def test_both_forms_agree_for_small_steps(settings):
    ends = []
    for penalty in ("proximal", "gradient"):
        torch.manual_seed(0)
        net, theta = small_theta()
        begin = theta.copy()
        method = ewc(strength=2.0, penalty=penalty)
        method.importance, method.anchor = torch.linspace(0.1, 1, 6), torch.full((6,), 3.0)
        method.start(net, theta)
        optimizer = make_optimizer(theta, training(**settings), [])
        for _ in range(200):
            theta.grad.copy_(theta.value)
            method.adjust(net, theta)
            optimizer.step()
            method.after_step(net, theta, lambda opt=optimizer: one_step(opt))
        ends.append(theta.value - begin)
    torch.testing.assert_close(ends[0], ends[1], rtol=0.02, atol=1e-3)


def test_huge_strength_fixes_important_parameters_and_zero_does_nothing():
    for strength, held in ((1e12, True), (0.0, False)):
        net, theta = small_theta()
        method = ewc(strength=strength)
        method.importance, method.anchor = torch.tensor([1.0, 1, 1, 0, 0, 0]), theta.copy()
        method.start(net, theta)
        before = theta.copy()
        theta.value.add_(1.0)
        method.after_step(net, theta, lambda: 0.1)
        moved = theta.value - before
        torch.testing.assert_close(moved[:3], torch.zeros(3) if held else torch.ones(3), atol=1e-4, rtol=0)
        torch.testing.assert_close(moved[3:], torch.ones(3))


def test_the_weight_of_the_anchor_follows_the_step_size():
    net, theta = small_theta()
    method = ewc(strength=1.0)
    method.importance, method.anchor = torch.ones(6), torch.zeros(6)
    method.start(net, theta)
    for size in (0.5, 0.5, 0.1):
        before = theta.copy()
        method.after_step(net, theta, lambda size=size: size)
        torch.testing.assert_close(theta.value, before / (1 + 2 * size))


def test_true_fisher_draws_labels_from_the_network(split):
    """Where the data's labels contradict a confident network, the empirical Fisher is large and the true one small."""
    torch.manual_seed(0)
    net, data = MLP((1, 4, 4), 3, []), split(300)
    with torch.no_grad():
        net[1].weight.zero_()
        net[1].bias.copy_(torch.tensor([9.0, 0.0, 0.0]))
    theta, result = Theta(net), {}
    for fisher in ("empirical", "true"):
        method = ewc(fisher=fisher)
        method.start(net, theta)
        method.end_task(net, theta, SimpleNamespace(train=data))
        result[fisher] = method.importance.sum()
    assert result["true"] < 0.01 * result["empirical"]


def test_fisher_counts_at_most_the_samples_asked_for(split):
    data = split(30)
    net = MLP((1, 4, 4), 3, [])
    assert sum(len(b.y) for b in ewc(samples=7).fisher_batches(net, data)) == 7
    assert sum(len(b.y) for b in ewc(samples=700).fisher_batches(net, data)) == 30


@pytest.mark.parametrize(("name", "value"), [("strength", -1.0), ("samples", 0), ("decay", 1.5)])
def test_settings_out_of_range_are_refused(name, value):
    with pytest.raises(SettingError, match=name):
        ewc(**{name: value})
