"""Gradient episodic memory."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor, nn

from mlbench.core.errors import require
from mlbench.data.stream import Stream
from mlbench.lifelong.replay.episodic import Episodic
from mlbench.training.compute import Compute
from mlbench.training.optimizer import Training
from mlbench.training.per_example_gradients import group_gradients
from mlbench.training.theta import Theta

ROUNDING = 1e-6  # relative error of a Gram matrix in single precision
TINY = 1e-30
RIDGE = 1e-3  # on the diagonal of G G^T, as in the authors' code: parallel or zero gradients stay solvable


@dataclass
class GEM(Episodic):
    """Gradient episodic memory (Lopez-Paz & Ranzato 2017, eq. 8-11).

    The memory holds `memory_total` examples, shared equally among the tasks. Where a step would raise the loss of an
    earlier task's memory (a negative dot product), the gradient g becomes g + G^T v, the nearest one that raises none:
    v minimises v^T G G^T v / 2 + (G g)^T v over v >= `margin`. A margin above 0 bounds the dual variables, as in the
    authors' code, and favours old tasks. Batch norm normalises a memory by its own statistics, as there, but memories
    do not move its running averages (there they do).

    The metric `lowest_cosine` is the smallest cosine, over all steps that were projected, between the gradient that was
    followed and that of a memory: 0 or more, up to rounding and the ridge.
    """

    keeps = (*Episodic.keeps, "lowest")

    margin: float

    def __post_init__(self):
        super().__post_init__()
        require(0 <= self.margin < math.inf, "margin", self.margin, "0 or more")

    def begin(self, stream: Stream, training: Training, compute: Compute, generator: torch.Generator) -> None:
        """Nothing has been projected yet."""
        super().begin(stream, training, compute, generator)
        self.lowest = math.inf

    def start(self, net: nn.Module, theta: Theta) -> None:  # noqa: ARG002
        """Lay out the memories of earlier tasks and a matrix for their gradients."""
        self.sizes = []
        if self.memory is not None:
            self.past = self.memory.batch(self.normalise)
            self.sizes = torch.unique_consecutive(self.memory.tasks, return_counts=True)[1].tolist()
            self.gradients = theta.value.new_zeros(len(self.sizes), theta.value.numel())  # [tasks, P]

    def adjust(self, net: nn.Module, theta: Theta) -> None:
        """Project the gradient when it points against a memory's."""
        if not self.sizes:
            return
        group_gradients(net, theta, self.past, self.sizes, self.logits, out=self.gradients)
        self.samples_replayed += len(self.past.y)
        dots = self.gradients @ theta.grad  # [tasks]
        if dots.min() < 0:
            gram = self.gradients @ self.gradients.T
            weights = dual_weights(gram, dots, self.margin)
            theta.grad.addmv_(self.gradients.T, weights)
            lengths = gram.diagonal().sqrt() * theta.grad.norm()
            self.lowest = min(self.lowest, ((dots + gram @ weights) / lengths.clamp(min=TINY)).min().item())

    def measured(self) -> dict[str, float]:
        """The smallest cosine, where anything was projected."""
        return {"lowest_cosine": self.lowest} if self.lowest < math.inf else {}

    def replays(self, task: int) -> float:
        """A step takes all memories of earlier tasks through the network."""
        return task * self.memory_per_task() / self.training.batch_size


def dual_weights(gram: Tensor, dots: Tensor, margin: float) -> Tensor:
    """The v [tasks] that minimises v^T A v / 2 + dots^T v over v >= margin, with A = gram + RIDGE * I.

    With v = u + margin and A = F F^T this is non-negative least squares: min |F^T u + F^-1 (dots + A margin)|, u >= 0.
    F comes from the eigenvalues of the Gram matrix, since in single precision a near-singular one may have no Cholesky
    factor however the ridge is chosen; eigenvalues below its rounding error count as that.
    """
    values, vectors = np.linalg.eigh(gram.cpu().double().numpy())
    values = np.maximum(values, ROUNDING * values[-1]) + RIDGE
    root = np.sqrt(values)
    target = vectors.T @ (dots.cpu().double().numpy()) / root + root * (vectors.T @ np.full(len(root), margin))
    weights = nnls((vectors * root).T, -target)[0] + margin
    return torch.as_tensor(weights, dtype=gram.dtype, device=gram.device)
