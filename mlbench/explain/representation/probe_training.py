"""Probes with hidden units and on mixes of layers, and the learner that trains them until they have converged."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from mlbench.data.split import Split
from mlbench.training.learner import Learner
from mlbench.training.theta import Theta

AT_ONCE = 4096  # items
LEAST = 0.1  # of the standard deviation of all numbers together: a number's own, where it is smaller


class Standardise(nn.Module):
    """Features [B, ...] to mean 0 and standard deviation 1 of each number, or channel of maps, over training data.

    A number that hardly varies there is not scaled up to 1: in an unusual example it would dominate all others.
    """

    def __init__(self, vectors: Tensor):
        super().__init__()
        values = vectors.float()
        over = (0, 2, 3) if values.dim() == 4 else (0,)  # places of a map keep their differences
        count = math.prod(values.shape[axis] for axis in over)
        own = values.std(over, correction=min(1, count - 1), keepdim=True)  # of a single one: 0
        least = LEAST * values.std(correction=min(1, values.numel() - 1)).item() + 1e-12
        self.register_buffer("mean", values.mean(over, keepdim=True))
        self.register_buffer("std", own.clamp(min=least))

    def forward(self, vectors: Tensor) -> Tensor:
        """Fresh floats."""
        return (vectors.float() - self.mean) / self.std

    def layers(self, vectors: Tensor, which: int | slice) -> Tensor:
        """Fresh floats of some layers of `vectors` [n, layers, D] alone."""
        return (vectors[:, which].float() - self.mean[:, which]) / self.std[:, which]


class Perceptron(nn.Module):
    """One layer of `hidden` units with ReLU, [B, D] to logits [B, values].

    `steps` counts the optimiser's steps until the weights were as they are.
    """

    def __init__(self, width: int, hidden: int, values: int):
        super().__init__()
        self.units, self.last = nn.Linear(width, hidden), nn.Linear(hidden, values)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self.last(self.units(x).relu())


class Mix(nn.Module):
    """A linear probe on a weighed sum of layers (Tenney et al. 2019, eq. 1), [B, layers, D] to logits [B, values].

    `steps` counts the optimiser's steps until the weights were as they are.
    """

    def __init__(self, layers: int, width: int, values: int):
        super().__init__()
        self.shares, self.last = nn.Parameter(torch.zeros(layers)), nn.Linear(width, values)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def weights(self) -> Tensor:
        """How much each of the layers is worth, [layers]; they add up to 1."""
        return self.shares.softmax(0)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self.last(torch.einsum("bld,l->bd", x, self.weights()))


class EarlyStopping(Learner):
    """Cross-entropy, with weights kept as they were after the epoch with the lowest on the development data."""

    lr_setting = "explain.lr"

    def __init__(self, development: Split):
        self.development = development

    def after_step(self, net: nn.Module, theta: Theta, step_size: Callable[[], float | Tensor]) -> None:  # noqa: ARG002
        """Count it in the network, where the count is kept and read back with the weights."""
        net.steps += 1


@torch.no_grad()
def begin_with_frequencies(last: nn.Linear, y: Tensor) -> None:
    """Make a network's last layer answer each value by its frequency among `y` [n], whatever goes in.

    Early stopping then keeps what is no worse than that, also where there is little to learn from.
    """
    counts = torch.bincount(y, minlength=last.out_features)
    last.weight.zero_()
    last.bias.copy_(((counts + 1) / (len(y) + last.out_features)).log())


@torch.no_grad()
def answers(net: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The value [n] that a probe finds for each of the vectors [n, ...]."""
    return torch.cat([net(part).argmax(1) for part in x.split(AT_ONCE)])
