"""Riemannian walk."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from mlbench.core.errors import require
from mlbench.data.split import Batch
from mlbench.data.stream import Task
from mlbench.lifelong.regularisation.quadratic_penalty import PathIntegral
from mlbench.training.per_example_gradients import squared_gradients
from mlbench.training.theta import Theta


@dataclass
class RWalk(PathIntegral):
    """Riemannian walk (Chaudhry et al. 2018, eq. 6-9): Fisher information plus a score of the path, both kept online.

    Every `interval` steps the squared gradients of the examples of the last batch enter the Fisher information, a
    moving average, and the score grows by drop / (fisher * distance^2 / 2 + damping), the drop of the loss per distance
    on the manifold, where it is positive. The scores of earlier tasks and of the new one are averaged. As in the
    authors' code, Fisher information and score are each divided by their largest value before they are added, since
    their units differ.

    Args:
        fisher_weight: Weight of the newest examples in the moving average, above 0 and at most 1.
        interval: Steps between two updates, at least 1.
        damping: Added to the distance, so that short paths do not divide by 0; above 0.
    """

    fisher_weight: float
    interval: int
    damping: float

    state_fields = (*PathIntegral.state_fields, "fisher", "score", "past_score", "steps")
    fisher: ClassVar[Tensor | None] = None  # [P]
    past_score: ClassVar[Tensor | None] = None  # [P]

    def __post_init__(self):
        super().__post_init__()
        require(0 < self.fisher_weight <= 1, "fisher_weight", self.fisher_weight, "above 0, up to 1")
        require(self.interval >= 1, "interval", self.interval, "1 or more steps")
        require(0 < self.damping < math.inf, "damping", self.damping, "above 0")

    def start(self, net: nn.Module, theta: Theta) -> None:
        """Set the score to 0 before the first step."""
        super().start(net, theta)
        if not hasattr(self, "score"):
            self.score, self.steps = theta.zeros(), 0  # [P]

    def batch(self, batch: Batch) -> Batch:
        """Store the batch for the Fisher information."""
        self.last_batch = batch
        return batch

    def after_step(self, net: nn.Module, theta: Theta, step_size: Callable[[], float | Tensor]) -> None:
        """At the end of an interval, update the Fisher information and the score, and start a new path."""
        super().after_step(net, theta, step_size)
        self.steps += 1
        if self.steps % self.interval == 0:
            self.samples_consolidated += len(self.last_batch.y)
            fisher = squared_gradients(net, theta, [self.last_batch], self.logits)  # [P]
            self.fisher = fisher if self.fisher is None else self.fisher.lerp_(fisher, self.fisher_weight)
            distance = (theta.value - self.departure).square_().mul_(self.fisher).div_(2)  # [P]
            self.score.addcdiv_(self.drop.clamp_(min=0), distance.add_(self.damping))
            self.restart_path(theta)

    def end_task(self, net: nn.Module, theta: Theta, task: Task) -> None:
        """Average the score with that of earlier tasks, and compute the importance from both."""
        if self.fisher is None:  # fewer steps than an interval
            self.fisher = squared_gradients(net, theta, self.sample_batches(task.train, self.interval), self.logits)
        self.past_score = self.score if self.past_score is None else (self.past_score + self.score) / 2
        self.importance = divided_by_maximum(self.fisher) + divided_by_maximum(self.past_score)
        self.anchor, self.score, self.steps = theta.copy(), theta.zeros(), 0
        self.restart_path(theta)


def divided_by_maximum(vector: Tensor) -> Tensor:
    """The non-negative `vector` [P] divided by its largest entry."""
    return vector / vector.max().clamp(min=torch.finfo(vector.dtype).tiny)
