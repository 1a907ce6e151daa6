"""Probes for many layers and targets, trained at the same time.

Each probe has its own parameters and its own term of the loss, so that with Adam each learns as if it were alone.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlbench.data.split import Batch, Split
from mlbench.training.learner import Learner

AT_ONCE = 1024  # items
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


class Probes(nn.Module):
    """A probe for each target and layer: linear, or with one layer of `hidden` units.

    [B, layers, D] to logits [targets, layers, B, values].
    """

    def __init__(self, targets: int, layers: int, width: int, values: int, hidden: int):
        super().__init__()
        self.targets, self.layers = targets, layers
        sizes = [width, hidden, values] if hidden else [width, values]
        count = targets * layers
        pairs = list(pairwise(sizes))
        self.weights = nn.ParameterList([torch.empty(count, a, b).uniform_(-(a**-0.5), a**-0.5) for a, b in pairs])
        self.biases = nn.ParameterList([torch.zeros(count, 1, b) for _, b in pairs])

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        activations = x.transpose(0, 1).repeat(self.targets, 1, 1)  # [targets * layers, B, D]
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            activations = torch.baddbmm(bias, activations.relu() if number else activations, weight)
        return activations.unflatten(0, (self.targets, self.layers))


class Mixes(nn.Module):
    """Linear probes on weighed sums of the layers 0 to l, one for each l (Tenney et al. 2019, eq. 1 and section 3).

    [B, layers, D], of which the first `layers` are taken, to logits [1, layers, B, values].
    """

    def __init__(self, layers: int, width: int, values: int):
        super().__init__()
        self.shares = nn.Parameter(torch.zeros(layers, layers))
        self.register_buffer("beyond", torch.ones(layers, layers).triu(1).bool(), persistent=False)
        self.probes = Probes(1, layers, width, values, 0)

    def weights(self) -> Tensor:
        """How much each of the layers [l, layers] is worth to each mix; rows add up to 1."""
        return self.shares.masked_fill(self.beyond, -torch.inf).softmax(1)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return self.probes(torch.einsum("bld,ml->bmd", x[:, : len(self.shares)], self.weights()))


class Together(nn.ModuleDict):
    """Probes by name, for the same vectors."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Logits by name."""
        return {name: probes(x) for name, probes in self.items()}


@dataclass
class Targets(Learner):
    """The cross-entropies of all probes, each a mean over the batch, added up; a label is a row of `values`."""

    lr_setting = "explain.lr"

    values: Tensor  # [n, targets]

    def loss(self, net: nn.Module, batch: Batch) -> Tensor:
        """See the class."""
        truth = self.values[batch.y].T[:, None]  # [targets, 1, B]
        total = torch.zeros((), device=truth.device)
        for logits in net(batch.x).values():
            targets, layers, size, _ = logits.shape
            labels = truth[:targets].expand(targets, layers, size)
            total = total + F.cross_entropy(logits.flatten(0, 2), labels.flatten(), reduction="sum") / size
        return total


@torch.no_grad()
def answers(net: nn.Module, split: Split) -> dict[str, Tensor]:
    """The value that each probe finds for each item: name -> [targets, layers, n]."""
    parts = [
        {name: logits.argmax(3) for name, logits in net(split.batch(index).x).items()}
        for index in split.chunks(AT_ONCE)
    ]
    return {name: torch.cat([part[name] for part in parts], 2) for name in parts[0]}
