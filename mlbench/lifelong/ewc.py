"""Elastic weight consolidation."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from mlbench.data.tasks import Batch, Split, Task
from mlbench.errors import require
from mlbench.gradients import eval_mode, squared_gradients
from mlbench.lifelong.base import Method
from mlbench.theta import Theta

TINY = 1e-30
FISHER_BATCH = 250


@dataclass
class EWC(Method):
    """Elastic weight consolidation (Kirkpatrick et al. 2017, eq. 3): strength * sum_i F_i (theta_i - theta*_i)^2.

    The penalties of all earlier tasks are one quadratic, exactly: importances add up, anchors average with the
    importances as weights; `decay` below 1 fades the older ones, as online EWC does (Schwarz et al. 2018, who also move
    the anchor to the newest parameters; here it stays the mean). `fisher` is the mean of squared single-example
    gradients, with the labels of the data (empirical) or labels drawn from the network's own answers (true).

    `penalty: gradient` adds the penalty's gradient, which diverges once 2 * lr * strength * importance exceeds 2.
    `proximal` minimises the penalty exactly after each step, theta = (theta + c * anchor) / (1 + c) with
    c = 2 * step_size * strength * importance, and is stable at any strength. Both have the same fixed points, since
    `step_size` is what a steady gradient of 1 moves under the optimiser: lr / (1 - momentum), or lr / (sqrt(v) + eps).
    """

    strength: float
    fisher: Literal["empirical", "true"]
    fisher_samples: int
    decay: float
    penalty: Literal["proximal", "gradient"]

    keeps = ("importance", "anchor")

    def __post_init__(self):
        require(0 <= self.strength < math.inf, "strength", self.strength, "0 or more")
        require(self.fisher_samples >= 1, "fisher_samples", self.fisher_samples, "1 or more")
        require(0 <= self.decay <= 1, "decay", self.decay, "0 to 1")

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

    def end_task(self, net: nn.Module, theta: Theta, task: Task) -> None:
        """Add the task's Fisher information to the importance and its solution to the anchor."""
        fisher = squared_gradients(net, theta, self.examples(net, task.train), self.logits)  # [P]
        kept = self.decay * self.importance
        self.importance = kept + fisher
        self.anchor = (kept * self.anchor + fisher * theta.value) / self.importance.clamp(min=TINY)
        self.anchor = torch.where(self.importance > 0, self.anchor, theta.value)

    def examples(self, net: nn.Module, split: Split) -> Iterator[Batch]:
        """`fisher_samples` examples drawn without replacement, with the labels that `fisher` asks for."""
        index = torch.randperm(len(split), generator=self.generator)[: self.fisher_samples]
        for part in index.to(split.labels.device).split(FISHER_BATCH):
            batch = split.batch(part)
            if self.fisher == "true":
                with eval_mode(net), torch.no_grad():
                    answers = self.logits(net, batch).softmax(1).cpu()
                drawn = torch.multinomial(answers, 1, generator=self.generator).squeeze(1)
                batch = batch._replace(y=drawn.to(batch.y.device))
            yield batch
