"""Selective plasticity: a quadratic penalty on the distance of each parameter from an anchor.

The penalty strength * sum_i importance_i (theta_i - anchor_i)^2 is the same for all methods of this kind (some papers
write strength / 2). They differ in how the importance is computed, in whether the importances of several tasks add up,
and in whether the anchor is the newest parameters or, for EWC, a mean over the ends of all tasks. Whatever the number
of tasks, the penalty is a single quadratic, so that the cost of a step does not grow.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from mlbench.core.errors import require
from mlbench.data.split import Batch, Split
from mlbench.data.stream import Task
from mlbench.lifelong.base import Method
from mlbench.training.theta import Theta

CHUNK = 250  # examples whose gradients are computed together
LARGEST_STRENGTH = 1e38  # its double is still a float32; infinity times an importance of 0 would be nan


@dataclass
class QuadraticPenalty(Method):
    """The penalty, given the importance [P] and the anchor [P]; subclasses define `task_importance`.

    The form `gradient` adds the gradient of the penalty, which diverges once 2 * lr * strength * importance exceeds 2.
    The form `proximal` minimises the penalty exactly after each step, theta = (theta + c * anchor) / (1 + c) with
    c = 2 * step_size * strength * importance, and is stable at any strength. Both have the same fixed points, since
    `step_size` is how far a steady gradient of 1 moves a parameter under the optimiser: lr / (1 - momentum), or
    lr / (sqrt(v) + eps).

    Args:
        strength: Weight of the penalty. 0 is fine-tuning; a larger one means less forgetting and less learning.
        penalty: `proximal` or `gradient`.
    """

    strength: float
    penalty: Literal["proximal", "gradient"]

    state_fields = ("importance", "anchor")

    def __post_init__(self):
        require(0 <= self.strength <= LARGEST_STRENGTH, "strength", self.strength, f"0 to {LARGEST_STRENGTH:g}")

    def start(self, net: nn.Module, theta: Theta) -> None:  # noqa: ARG002
        """No penalty before the first task."""
        if not hasattr(self, "importance"):
            self.importance, self.anchor = theta.zeros(), theta.copy()  # [P], [P]
        self.step_size, self.weight = None, None
        self.active = bool(self.strength) and bool(self.importance.any())

    def adjust(self, net: nn.Module, theta: Theta) -> None:  # noqa: ARG002
        """Add the gradient of the penalty."""
        if self.active and self.penalty == "gradient":
            theta.grad.addcmul_(self.importance, theta.value - self.anchor, value=2 * self.strength)

    def after_step(self, net: nn.Module, theta: Theta, step_size: Callable[[], float | Tensor]) -> None:  # noqa: ARG002
        """Make the proximal step of the penalty; the weight of the anchor changes only with the step size."""
        if self.active and self.penalty == "proximal":
            size = step_size()
            if isinstance(size, Tensor) or size != self.step_size:
                ratio = self.importance * size * (2 * self.strength)
                self.step_size, self.weight = size, 1 - 1 / (1 + ratio)  # [P]
            theta.value.lerp_(self.anchor, self.weight)

    def end_task(self, net: nn.Module, theta: Theta, task: Task) -> None:
        """Add the importance of the task, and move the anchor to the present parameters."""
        self.importance += self.task_importance(net, theta, task)
        self.anchor = theta.copy()

    def task_importance(self, net: nn.Module, theta: Theta, task: Task) -> Tensor:
        """The importance [P] of each parameter for the task that has just been learned."""
        raise NotImplementedError

    def sample_batches(self, split: Split, count: int) -> Iterator[Batch]:
        """`count` examples of `split`, drawn without replacement, in chunks."""
        index = torch.randperm(len(split), generator=self.generator)[:count]
        self.samples_consolidated += len(index)
        for part in index.to(split.labels.device).split(CHUNK):
            yield split.batch(part)


@dataclass
class PathIntegral(QuadraticPenalty):
    """A penalty whose importance is computed from the path of the parameters through the task.

    `drop` [P] sums -gradient * step, each parameter's share in the drop of the loss since `departure` [P], the start of
    the path. The gradient is that of the loss without the penalty; the step is everything that moved the parameter.
    """

    state_fields = ("importance", "anchor", "drop", "departure")
    early_stopping = False  # `drop` would contain steps that were undone

    def start(self, net: nn.Module, theta: Theta) -> None:
        """Start the path at the present parameters, unless a resumed run is in the middle of one."""
        super().start(net, theta)
        if not hasattr(self, "drop"):
            self.restart_path(theta)
        self.before = theta.copy()  # [P]
        self.gradient = theta.zeros() if self.penalty == "gradient" else theta.grad  # [P]

    def restart_path(self, theta: Theta) -> None:
        """Start a new path at the present parameters."""
        self.drop, self.departure = theta.zeros(), theta.copy()

    def adjust(self, net: nn.Module, theta: Theta) -> None:
        """Copy the gradient of the loss before the gradient of the penalty is added to it."""
        if self.penalty == "gradient":
            self.gradient.copy_(theta.grad)
        super().adjust(net, theta)

    def after_step(self, net: nn.Module, theta: Theta, step_size: Callable[[], float | Tensor]) -> None:
        """Extend the path by one step."""
        super().after_step(net, theta, step_size)
        self.drop.addcmul_(self.gradient, self.before.sub_(theta.value))
        self.before.copy_(theta.value)
