"""Gradient episodic memory."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor, nn

from mlbench.core.errors import require
from mlbench.data.stream import Stream, Task
from mlbench.lifelong.base import Method
from mlbench.lifelong.buffer import TaskBuffer
from mlbench.training.compute import Compute
from mlbench.training.optimizer import Training
from mlbench.training.per_example_gradients import group_gradients
from mlbench.training.theta import Theta

ROUNDING = 1e-6  # error of the cosines that a Gram matrix in single precision gives
TINY = 1e-30
RIDGE = 1e-3  # on the diagonal of G G^T, as in the authors' code: parallel or zero gradients stay solvable


@dataclass
class GEM(Method):
    """Gradient episodic memory (Lopez-Paz & Ranzato 2017, eq. 8-11).

    If a step would raise the loss on the stored examples of an earlier task (a negative dot product of the gradients),
    the gradient g becomes g + G^T v, the nearest one that raises none. The rows of G are the gradients on the tasks'
    stored examples, and v minimises v^T G G^T v / 2 + (G g)^T v over v >= `margin`. As in the authors' code, the margin
    bounds the dual variables, so that a margin above 0 favours old tasks. Batch norm normalises the stored examples of
    a task by their own statistics, as in that code, but they do not change its running averages (there they do).

    The metric `lowest_cosine` is the smallest cosine, over all projected steps, between the projected gradient and
    that of a task's stored examples: 0 or more, up to rounding and the ridge.

    Args:
        memory_total: Capacity of the buffer, in examples, shared equally among the tasks.
        margin: Lower bound of the dual variables, 0 or more.
    """

    memory_total: int
    margin: float

    state_fields = ("lowest",)

    def __post_init__(self):
        super().__post_init__()
        self.buffer = TaskBuffer(self.memory_total)
        require(0 <= self.margin < math.inf, "margin", self.margin, "0 or more")

    def begin(self, stream: Stream, training: Training, compute: Compute, generator: torch.Generator) -> None:
        """Reset the lowest cosine."""
        super().begin(stream, training, compute, generator)
        self.lowest = math.inf

    def start(self, net: nn.Module, theta: Theta) -> None:  # noqa: ARG002
        """Prepare the stored examples of earlier tasks and a matrix for their gradients."""
        self.sizes = []  # stored examples of each earlier task
        if self.buffer:
            self.past = self.buffer.examples.batch(self.normalise)
            self.sizes = torch.unique_consecutive(self.buffer.examples.tasks, return_counts=True)[1].tolist()
            self.gradients = theta.value.new_zeros(len(self.sizes), theta.value.numel())  # [tasks, P]

    def adjust(self, net: nn.Module, theta: Theta) -> None:
        """Project the gradient if it points against that of an earlier task."""
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

    def end_task(self, net: nn.Module, theta: Theta, task: Task) -> None:  # noqa: ARG002
        """Store the task's share of examples."""
        self.buffer.store(task.train)

    def metrics(self) -> dict[str, float]:
        """The lowest cosine, if any step was projected."""
        return {"lowest_cosine": self.lowest} if self.lowest < math.inf else {}

    def replay_ratio(self, task: int) -> float:
        """A step passes the stored examples of all earlier tasks through the network."""
        return task * self.buffer.share / self.training.batch_size


def dual_weights(gram: Tensor, dots: Tensor, margin: float) -> Tensor:
    """Solve GEM's quadratic programme in its dual form.

    Minimises v^T A v / 2 + dots^T v over v >= margin, with A = gram + RIDGE * I. With v = u + margin and A = F F^T this
    is non-negative least squares: min |F^T u + F^-1 (dots + A margin)| over u >= 0. All of it is done in units in which
    the diagonal of A is 1, which changes no solution and lets a small gradient count beside a large one. F comes from
    the eigenvalues of A, because in single precision a near-singular matrix may have no Cholesky factor, however the
    ridge is chosen; eigenvalues below its rounding error are raised to it.

    Args:
        gram: The Gram matrix G G^T [tasks, tasks] of the gradients of earlier tasks.
        dots: The products G g [tasks] of these gradients with the present one.
        margin: Lower bound of the solution.

    Returns:
        The dual variables v [tasks].
    """
    matrix = gram.cpu().double().numpy()
    scale = np.sqrt(matrix.diagonal() + RIDGE)  # the unit of 1 / v
    values, vectors = np.linalg.eigh((matrix + RIDGE * np.eye(len(scale))) / np.outer(scale, scale))
    root = np.sqrt(np.maximum(values, ROUNDING * values[-1]))
    target = vectors.T @ (dots.cpu().double().numpy() / scale) / root + root * (vectors.T @ (margin * scale))
    weights = nnls((vectors * root).T, -target)[0] / scale + margin
    return torch.as_tensor(weights, dtype=gram.dtype, device=gram.device)
