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
    """Riemannian walk (Chaudhry et al. 2018, eq. 6-9): Fisher information plus a score of the way, both kept online.

    Every `interval` steps the squared gradients of the single examples at hand enter the Fisher, a moving average with
    weight `fisher_weight`, and the score grows by drop / (fisher * distance^2 / 2 + damping), the fall of the loss per
    distance on the manifold, where positive. The scores of old tasks and the new one are averaged. As in the authors'
    code, Fisher and score are each divided by their largest value before they are added, having different units.
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
        """No Fisher and no score before the first step."""
        super().start(net, theta)
        if not hasattr(self, "score"):
            self.score, self.steps = theta.zeros(), 0  # [P]

    def batch(self, batch: Batch) -> Batch:
        """Keep the examples at hand for the Fisher."""
        self.at_hand = batch
        return batch

    def after_step(self, net: nn.Module, theta: Theta, step_size: Callable[[], float | Tensor]) -> None:
        """At the end of an interval, add to the score and depart anew."""
        super().after_step(net, theta, step_size)
        self.steps += 1
        if self.steps % self.interval == 0:
            fresh = squared_gradients(net, theta, [self.at_hand], self.logits)  # [P]
            self.fisher = fresh if self.fisher is None else self.fisher.lerp_(fresh, self.fisher_weight)
            distance = (theta.value - self.departure).square_().mul_(self.fisher).div_(2)  # [P]
            self.score.addcdiv_(self.drop.clamp_(min=0), distance.add_(self.damping))
            self.depart(theta)

    def end_task(self, net: nn.Module, theta: Theta, task: Task) -> None:
        """Average the task's score with the past one and take stock."""
        if self.fisher is None:  # fewer steps than an interval
            self.fisher = squared_gradients(net, theta, self.drawn(task.train, self.interval), self.logits)
        self.past_score = self.score if self.past_score is None else (self.past_score + self.score) / 2
        self.importance = normalised(self.fisher) + normalised(self.past_score)
        self.anchor, self.score, self.steps = theta.copy(), theta.zeros(), 0
        self.depart(theta)


def normalised(vector: Tensor) -> Tensor:
    """`vector` [P] of numbers from 0, divided by the largest."""
    return vector / vector.max().clamp(min=torch.finfo(vector.dtype).tiny)
