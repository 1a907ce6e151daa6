import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import minimize

from mlbench.core.errors import SettingError
from mlbench.data.output_heads import SharedHead
from mlbench.lifelong.replay.gem import GEM, RIDGE, dual_weights
from mlbench.models.mlp import MLP
from mlbench.training.theta import Theta


def project(gradients, gradient, margin):
    weights = dual_weights(gradients @ gradients.T, gradients @ gradient, margin)
    return gradient + gradients.T @ weights


@pytest.mark.parametrize("margin", [0.0, 0.5])
@pytest.mark.parametrize("tasks", [1, 3, 8])
def test_dual_weights_solve_the_quadratic_programme(tasks, margin):
    draws = torch.Generator().manual_seed(tasks)
    g, gradients = torch.randn(30, generator=draws), torch.randn(tasks, 30, generator=draws)
    v = dual_weights(gradients @ gradients.T, gradients @ g, margin).double().numpy()
    a = (gradients @ gradients.T).double().numpy() + RIDGE * np.eye(tasks)
    b = (gradients @ g).double().numpy()

    def objective(v):
        return v @ a @ v / 2 + b @ v

    best = minimize(objective, np.full(tasks, margin + 1.0), bounds=[(margin, None)] * tasks, options={"ftol": 1e-15})
    assert objective(v) <= best.fun + 1e-5
    assert (v >= margin - 1e-6).all()


def test_projection_is_the_nearest_gradient_that_raises_no_loss():
    """Against the primal problem: min |z - g|^2 subject to G z >= 0."""
    draws = torch.Generator().manual_seed(0)
    g, gradients = torch.randn(10, generator=draws), torch.randn(4, 10, generator=draws)
    z = project(gradients, g, 0.0)
    assert (gradients @ z >= -5e-3).all()
    rows = gradients.double().numpy()
    best = minimize(
        lambda z: ((z - g.double().numpy()) ** 2).sum(),
        np.zeros(10),
        constraints={"type": "ineq", "fun": lambda z: rows @ z},
        options={"ftol": 1e-14, "maxiter": 1000},
    )
    np.testing.assert_allclose(z.numpy(), best.x, atol=5e-3)


@pytest.mark.parametrize(
    "gradients",
    [
        torch.tensor([[1.0, 0, 0]] * 3),
        torch.tensor([[1.0, 0, 0], [1 + 1e-7, 0, 0], [1e4, 0, 0]]),
        torch.zeros(2, 3),
        torch.tensor([[1e-20, 0, 0], [0, 1e-20, 0]]),
        torch.randn(40, 3, generator=torch.Generator().manual_seed(0)),
    ],
    ids=["parallel", "nearly parallel", "zero", "tiny", "more tasks than dimensions"],
)
def test_degenerate_gradients_leave_a_finite_projection(gradients):
    g = torch.tensor([-1.0, 2.0, 0.5])
    z = project(gradients, g, 0.0)
    assert z.isfinite().all()
    allowed = RIDGE * (gradients.norm(dim=1) + 1e-3).reciprocal() * g.norm()  # what the ridge lets through
    assert (gradients @ z >= -allowed).all()


@pytest.mark.parametrize("norm", [1e-3, 1.0, 30.0, 1e3, 1e5])
def test_dense_parallel_gradients_of_any_size_are_projected(norm):
    """Their Gram matrix is singular up to the rounding of single precision, which no fixed ridge covers."""
    for seed in range(5):
        draws = torch.Generator().manual_seed(seed)
        row = torch.randn(20_000, generator=draws)
        row *= norm / row.norm()
        gradients = torch.stack([row * (1 + 0.1 * i) for i in range(6)])
        g = torch.randn(20_000, generator=draws) - 3 * row / norm
        z = project(gradients, g, 0.0)
        assert z.isfinite().all()
        exact = g - min(0.0, float(g @ row / norm)) * row / norm
        if norm >= 1:
            assert (z - exact).norm() < 0.01 * g.norm()


@pytest.mark.parametrize("margin", [0.0, 0.5])
@pytest.mark.parametrize("norms", [(300.0, 0.1), (1e5, 1.0), (1e-3, 1e4, 1.0), (3e4, 0.02, 50.0, 1.0)])
def test_a_memory_with_a_small_gradient_counts_beside_one_with_a_large(norms, margin):
    """Orthogonal memories have a closed form: each dual variable is its own minimum, or the margin."""
    sizes = torch.tensor(norms)
    gradients = torch.diag(sizes)
    g = torch.linspace(-1, 0.2, len(norms))
    v = dual_weights(gradients @ gradients.T, gradients @ g, margin)
    expected = (-sizes * g / (sizes.square() + RIDGE)).clamp(min=margin)
    torch.testing.assert_close(v, expected, rtol=1e-4, atol=1e-6)


def test_the_step_that_orthogonal_memories_of_unequal_norms_allow():
    z = project(torch.tensor([[300.0, 0, 0], [0, 0.1, 0]]), torch.tensor([-1.0, -1.0, 0]), 0.0)
    torch.testing.assert_close(z, torch.tensor([0.0, -1 / 11, 0]), rtol=0, atol=1e-4)


@pytest.mark.parametrize("seed", range(6))
def test_dual_weights_at_hostile_scales_meet_the_optimality_conditions(seed):
    """v >= margin, slope >= 0, and no slope where v is above the margin (Karush, Kuhn, Tucker)."""
    draws = torch.Generator().manual_seed(seed)
    norms = 10 ** (torch.rand(6, 1, generator=draws) * 8 - 3)
    gradients, g = torch.randn(6, 40, generator=draws) / 40**0.5 * norms, torch.randn(40, generator=draws)
    gram, dots = gradients @ gradients.T, gradients @ g
    for margin in (0.0, 0.5):
        v = dual_weights(gram, dots, margin).double()
        unit = (gram.double().diagonal() + RIDGE).sqrt()
        slope = (gram.double() @ v + RIDGE * v + dots.double()) / unit
        size = 1e-5 * (1 + (unit * v).abs().max())
        assert (v >= margin - 1e-6).all()
        assert (slope >= -size).all()
        assert (slope[v > margin * (1 + 1e-5) + 1e-9] <= size).all()


def learner(net, total=12, margin=0.0, tasks=3):
    method = GEM(memory_total=total, margin=margin)
    method.heads, method.lowest = SharedHead(), math.inf
    method.buffer.generator, method.buffer.tasks = torch.Generator().manual_seed(0), tasks
    return method


def test_a_step_against_a_memory_is_projected_and_one_along_it_is_left_alone(split):
    torch.manual_seed(0)
    net = MLP((1, 4, 4), 3, [6])
    method, data = learner(net, margin=0.5), split(50)
    method.normalise = data.normalise
    theta = Theta(net)
    method.end_task(net, theta, SimpleNamespace(train=data))
    method.start(net, theta)
    memory = method.buffer.examples
    loss = F.cross_entropy(net(data.normalise(memory.pictures)), memory.labels)
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(net.parameters()))])
    theta.grad.copy_(2 * gradient)
    method.adjust(net, theta)
    assert torch.equal(theta.grad, 2 * gradient)
    assert method.metrics() == {}
    method.margin = 0.0
    against = -gradient + torch.randn_like(gradient) * gradient.norm() / 30
    theta.grad.copy_(against)
    method.adjust(net, theta)
    assert gradient @ theta.grad >= -0.1 * gradient.norm() ** 2 * RIDGE / (gradient.norm() ** 2 + RIDGE) - 2e-3
    assert gradient @ against < -0.5 * gradient.norm() ** 2
    assert method.samples_replayed == 2 * len(memory)
    cosine = F.cosine_similarity(theta.grad, gradient, dim=0).item()
    assert method.metrics()["lowest_cosine"] == pytest.approx(cosine, abs=2e-4)
    first = method.lowest
    theta.grad.copy_(gradient)
    method.adjust(net, theta)
    assert method.lowest == first


def test_memory_is_shared_equally_and_holds_no_more_than_there_is(split):
    net = MLP((1, 4, 4), 3, [])
    method = learner(net, total=30)
    theta = Theta(net)
    for task, count in enumerate((50, 4, 50)):
        method.normalise = split(5).normalise
        method.end_task(net, theta, SimpleNamespace(train=split(count, task=task, seed=task)))
    method.start(net, theta)
    assert method.sizes == [10, 4, 10]
    assert method.buffer.examples.tasks.tolist() == [0] * 10 + [1] * 4 + [2] * 10
    assert method.gradients.shape == (3, theta.value.numel())
    stored = {tuple(p.flatten().tolist()) for p in method.buffer.examples.pictures[10:14]}
    assert stored == {tuple(p.flatten().tolist()) for p in split(4, seed=1).pool.examples}


@pytest.mark.parametrize(("name", "value"), [("memory_total", 0), ("margin", -0.1)])
def test_settings_out_of_range_are_refused(name, value):
    with pytest.raises(SettingError, match=name):
        GEM(**{"memory_total": 5, "margin": 0.0, name: value})
