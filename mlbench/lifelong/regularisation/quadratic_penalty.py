"""Selective plasticity: each parameter is held at an anchor by a spring of its own.

The penalty strength * sum_i importance_i (theta_i - anchor_i)^2 is the same for all methods of this kind (some papers
write strength / 2). They differ in `end_task`: how the importance is found, whether those of the tasks add up, and
whether the anchor is where the newest task ended or, for EWC, the mean of all ends. Whatever the number of tasks,
it is one quadratic: a step costs the same at all of them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from mlbench.core.errors import require
from mlbench.data.split import Batch, Split
from mlbench.lifelong.base import Method
from mlbench.training.theta import Theta

EXAMPLES_AT_ONCE = 250
MOST = 1e38  # twice of it is still a float32; infinity times an importance of 0 is no number


@dataclass
class Anchored(Method):
    """The springs. `strength` 0 protects nothing; the larger it is, the less is forgotten and the less is learned.

    `penalty: gradient` adds the penalty's gradient, which diverges once 2 * lr * strength * importance exceeds 2.
    `proximal` minimises the penalty exactly after each step, theta = (theta + c * anchor) / (1 + c) with
    c = 2 * step_size * strength * importance, and is stable at any strength. Both have the same fixed points, since
    `step_size` is what a steady gradient of 1 moves under the optimiser: lr / (1 - momentum), or lr / (sqrt(v) + eps).
    """

    strength: float
    penalty: Literal["proximal", "gradient"]

    state_fields = ("importance", "anchor")

    def __post_init__(self):
        require(0 <= self.strength <= MOST, "strength", self.strength, f"0 to {MOST:g}")

    def start(self, net: nn.Module, theta: Theta) -> None:  # noqa: ARG002
        """No penalty before the first task."""
        if not hasattr(self, "importance"):
            self.importance, self.anchor = theta.zeros(), theta.copy()  # [P], [P]
        self.size, self.pull = None, None
        self.active = bool(self.strength) and bool(self.importance.any())

    def adjust(self, net: nn.Module, theta: Theta) -> None:  # noqa: ARG002
        """The gradient of the penalty."""
        if self.active and self.penalty == "gradient":
            theta.grad.addcmul_(self.importance, theta.value - self.anchor, value=2 * self.strength)

    def after_step(self, net: nn.Module, theta: Theta, step_size: Callable[[], float | Tensor]) -> None:  # noqa: ARG002
        """The proximal step of the penalty; its weight is kept for as long as the step size stays."""
        if self.active and self.penalty == "proximal":
            size = step_size()
            if isinstance(size, Tensor) or size != self.size:
                pull = self.importance * size * (2 * self.strength)
                self.size, self.pull = size, 1 - 1 / (1 + pull)  # [P]
            theta.value.lerp_(self.anchor, self.pull)

    def drawn(self, split: Split, count: int) -> Iterator[Batch]:
        """`count` examples of `split` without replacement, some at a time."""
        index = torch.randperm(len(split), generator=self.generator)[:count]
        for part in index.to(split.labels.device).split(EXAMPLES_AT_ONCE):
            yield split.batch(part)


@dataclass
class PathIntegral(Anchored):
    """Springs whose importance comes from the way that the parameters took through the task.

    `drop` [P] sums -gradient * step: each parameter's share in the fall of the loss since `departure` [P]. The gradient
    is that of the loss without the penalty, the step everything that moved the parameter.
    """

    state_fields = ("importance", "anchor", "drop", "departure")
    early_stopping = False  # `drop` would hold steps that were taken back

    def start(self, net: nn.Module, theta: Theta) -> None:
        """Depart from the present parameters, unless a resumed run is on its way."""
        super().start(net, theta)
        if not hasattr(self, "drop"):
            self.depart(theta)
        self.before = theta.copy()  # [P]
        self.gradient = theta.zeros() if self.penalty == "gradient" else theta.grad  # [P]

    def depart(self, theta: Theta) -> None:
        """The way begins here."""
        self.drop, self.departure = theta.zeros(), theta.copy()

    def adjust(self, net: nn.Module, theta: Theta) -> None:
        """Remember the gradient of the loss before the penalty is added, where it is added to the gradient."""
        if self.penalty == "gradient":
            self.gradient.copy_(theta.grad)
        super().adjust(net, theta)

    def after_step(self, net: nn.Module, theta: Theta, step_size: Callable[[], float | Tensor]) -> None:
        """Go one step further."""
        super().after_step(net, theta, step_size)
        self.drop.addcmul_(self.gradient, self.before.sub_(theta.value))
        self.before.copy_(theta.value)
