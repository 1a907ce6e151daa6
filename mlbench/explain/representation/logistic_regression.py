"""Multinomial logistic regression, the linear probe: a convex problem, solved until the gradient is zero."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

DECAYS = (1e1, 1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)  # to choose from; the strongest leaves frequencies alone
GRADIENT = 1e-4  # the largest number in the gradient of a solution, as in scikit-learn
STEPS = 1000  # of L-BFGS at most


@dataclass
class LinearProbe:
    """A solution: logits are `x @ weight + bias`.

    Attributes:
        weight: [D, values].
        bias: [values].
        decay: Strength of the L2 penalty.
        steps: Steps of L-BFGS, those for other strengths included.
        converged: Whether no number in the gradient is larger than GRADIENT.
    """

    weight: Tensor
    bias: Tensor
    decay: float
    steps: int
    converged: bool

    def __call__(self, x: Tensor) -> Tensor:
        """Logits [n, values] of `x` [n, D]."""
        return x @ self.weight + self.bias


def solution(x: Tensor, y: Tensor, values: int, decay: float, start: LinearProbe | None = None) -> LinearProbe:
    """Minimise the mean cross-entropy plus decay / 2 times the sum of the squared weights; biases are free.

    With L-BFGS (Liu & Nocedal 1989) and line searches by the strong Wolfe conditions, over all examples at once.

    Args:
        x: Vectors, float [n, D].
        y: The value of each, int64 [n].
        values: How many there are.
        decay: Strength of the penalty.
        start: Where to begin; None begins with zeros.
    """
    shape = (x.shape[1], values)
    weight = (x.new_zeros(shape) if start is None else start.weight.clone()).requires_grad_()
    bias = (x.new_zeros(values) if start is None else start.bias.clone()).requires_grad_()
    about = {"max_iter": STEPS, "max_eval": 2 * STEPS, "tolerance_grad": GRADIENT, "history_size": 10}
    optimizer = torch.optim.LBFGS([weight, bias], line_search_fn="strong_wolfe", **about)

    def objective() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(torch.addmm(bias, x, weight), y) + decay / 2 * weight.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(objective)
        objective()
    converged = max(weight.grad.abs().max().item(), bias.grad.abs().max().item()) <= GRADIENT
    steps = optimizer.state[weight]["n_iter"] + (0 if start is None else start.steps)
    return LinearProbe(weight.detach(), bias.detach(), decay, steps, converged)


def chosen_solution(train: tuple[Tensor, Tensor], development: tuple[Tensor, Tensor], values: int) -> LinearProbe:
    """The solution for the one of DECAYS that has the lowest cross-entropy on development data.

    From the strongest on, each begins where the last one ended; the first that is worse than the one before is the
    last that is tried.

    Args:
        train: Vectors [n, D] and values [n].
        development: The same of other examples.
        values: How many values there are.
    """
    probe, best, lowest = None, None, float("inf")
    for decay in DECAYS:
        probe = solution(*train, values, decay, probe)
        loss = F.cross_entropy(probe(development[0]), development[1]).item()
        if loss >= lowest:
            break
        best, lowest = probe, loss
    best.steps = probe.steps
    return best
