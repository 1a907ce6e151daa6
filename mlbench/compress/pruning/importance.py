"""Importance scores of single weights, by which pruning chooses.

Every function takes the network, the method's context, and the number of training examples to use, and returns a score
for each element of each compressible weight, frozen ones included; pruning removes the lowest.
"""

import torch
from torch import Tensor, nn

from mlbench.compress.base import Context, batches, weights
from mlbench.training.learner import Learner
from mlbench.training.module_modes import eval_mode, unfrozen
from mlbench.training.per_example_gradients import squared_gradients
from mlbench.training.theta import Theta

Scores = dict[str, Tensor]  # parameter name -> score of each element, in the parameter's shape
BATCH_SIZE = 100


def magnitude(net: nn.Module, context: Context, samples: int) -> Scores:  # noqa: ARG001
    """The magnitude |w| (Han et al. 2015)."""
    return {name: weight.detach().abs() for name, weight in weights(net).items()}


def gradient(net: nn.Module, context: Context, samples: int) -> Scores:
    """The magnitude |g| of the gradient of the mean loss over `samples` training examples."""
    return {name: g.abs() for name, g in mean_gradients(net, context, samples).items()}


def taylor(net: nn.Module, context: Context, samples: int) -> Scores:
    """|w g|: the change of the loss without the weight, to first order (Molchanov et al. 2017, eq. 8)."""
    parameters = weights(net)
    return {name: (parameters[name].detach() * g).abs() for name, g in mean_gradients(net, context, samples).items()}


def fisher(net: nn.Module, context: Context, samples: int) -> Scores:
    """w^2 F / 2, F the diagonal of the empirical Fisher matrix: to second order (Theis et al. 2018, eq. 4)."""
    chosen = weights(net)
    with unfrozen(chosen.values()):
        theta, examples = Theta(net), batches(context.train, samples, BATCH_SIZE, context.generator)
        diagonal = squared_gradients(net, theta, examples, Learner().logits)
    named = theta.named(theta.value.square() * diagonal / 2)
    return {name: named[name].detach() for name in chosen}


def random(net: nn.Module, context: Context, samples: int) -> Scores:  # noqa: ARG001
    """A random number for each weight: the baseline of every other score."""
    return {
        name: torch.rand(weight.shape, generator=context.generator).to(weight.device)
        for name, weight in weights(net).items()
    }


def mean_gradients(net: nn.Module, context: Context, samples: int) -> Scores:
    """The gradient of the mean cross-entropy over `samples` training examples, for each compressible weight."""
    parameters = weights(net)
    totals = {name: torch.zeros_like(weight) for name, weight in parameters.items()}
    learner, count = Learner(), 0
    with eval_mode(net), unfrozen(parameters.values()):
        for batch in batches(context.train, samples, BATCH_SIZE, context.generator):
            loss = learner.loss(net, batch) * len(batch.y)
            gradients = torch.autograd.grad(
                loss, list(parameters.values()), materialize_grads=True
            )  # 0 for layers not used
            for total, each in zip(totals.values(), gradients, strict=True):
                total += each
            count += len(batch.y)
    return {name: total / count for name, total in totals.items()}


IMPORTANCES = {"magnitude": magnitude, "gradient": gradient, "taylor": taylor, "fisher": fisher, "random": random}
