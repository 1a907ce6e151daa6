"""Synaptic intelligence."""

import math
from dataclasses import dataclass

from torch import nn

from mlbench.core.errors import require
from mlbench.data.stream import Task
from mlbench.lifelong.regularisation.quadratic_penalty import PathIntegral
from mlbench.training.theta import Theta


@dataclass
class SI(PathIntegral):
    """Synaptic intelligence (Zenke et al. 2017, eq. 3-5): what a parameter did for the fall of the loss, for its way.

    importance += drop / (distance^2 + damping), summed over tasks, the anchor being the newest parameters. A negative
    drop (the parameter's steps raised the loss) counts as no importance, so that no spring pushes away.
    """

    damping: float

    def __post_init__(self):
        super().__post_init__()
        require(0 < self.damping < math.inf, "damping", self.damping, "above 0")

    def end_task(self, net: nn.Module, theta: Theta, task: Task) -> None:  # noqa: ARG002
        """Turn the way through the task into importance."""
        distance = theta.value - self.departure  # [P]
        self.importance += self.drop.clamp(min=0) / (distance.square() + self.damping)
        self.anchor = theta.copy()
        self.depart(theta)
