"""How much each weight matters: what pruning goes by."""

import torch
from torch import Tensor, nn

from mlbench.compress.base import Workbench, batches, weights
from mlbench.training.learner import Learner
from mlbench.training.module_modes import eval_mode
from mlbench.training.per_example_gradients import squared_gradients
from mlbench.training.theta import Theta

Scores = dict[str, Tensor]  # name of a weight -> score of each of its elements, in its shape
BATCH = 100


def magnitude(net: nn.Module, bench: Workbench, samples: int) -> Scores:  # noqa: ARG001
    """|w| (Han et al. 2015)."""
    return {name: weight.detach().abs() for name, weight in weights(net).items()}


def gradient(net: nn.Module, bench: Workbench, samples: int) -> Scores:
    """|g|, g the gradient of the mean loss over `samples` training examples."""
    return {name: g.abs() for name, g in mean_gradients(net, bench, samples).items()}


def taylor(net: nn.Module, bench: Workbench, samples: int) -> Scores:
    """|w g|: how much the loss changes, to first order, without the weight (Molchanov et al. 2017, eq. 8)."""
    owned = weights(net)
    return {name: (owned[name].detach() * g).abs() for name, g in mean_gradients(net, bench, samples).items()}


def fisher(net: nn.Module, bench: Workbench, samples: int) -> Scores:
    """w^2 F / 2 with the diagonal F of the empirical Fisher matrix: to second order (Theis et al. 2018, eq. 4)."""
    theta = Theta(net)
    diagonal = squared_gradients(net, theta, batches(bench.train, samples, BATCH, bench.generator), Learner().logits)
    named = theta.named(theta.value.square() * diagonal / 2)
    return {name: named[name].detach() for name in weights(net)}


def random(net: nn.Module, bench: Workbench, samples: int) -> Scores:  # noqa: ARG001
    """A number drawn for each weight: what any other importance must beat."""
    return {
        name: torch.rand(weight.shape, generator=bench.generator).to(weight.device)
        for name, weight in weights(net).items()
    }


def mean_gradients(net: nn.Module, bench: Workbench, samples: int) -> Scores:
    """The gradient of the mean cross-entropy over `samples` training examples, for each compressible weight."""
    owned = weights(net)
    totals = {name: torch.zeros_like(weight) for name, weight in owned.items()}
    learner, count = Learner(), 0
    with eval_mode(net):
        for batch in batches(bench.train, samples, BATCH, bench.generator):
            loss = learner.loss(net, batch) * len(batch.y)
            gradients = torch.autograd.grad(loss, list(owned.values()), materialize_grads=True)  # 0 for unused layers
            for total, each in zip(totals.values(), gradients, strict=True):
                total += each
            count += len(batch.y)
    return {name: total / count for name, total in totals.items()}


IMPORTANCES = {"magnitude": magnitude, "gradient": gradient, "taylor": taylor, "fisher": fisher, "random": random}
