"""Synaptic intelligence."""

import math
from dataclasses import dataclass

from torch import Tensor, nn

from mlbench.core.errors import require
from mlbench.data.stream import Task
from mlbench.lifelong.regularisation.quadratic_penalty import PathIntegral
from mlbench.training.theta import Theta


@dataclass
class SI(PathIntegral):
    """Synaptic intelligence (Zenke et al. 2017, eq. 3-5): a parameter's share in the drop of the loss, per distance.

    The importance is drop / (distance^2 + damping). Unlike in the paper, a negative drop (the parameter's steps raised
    the loss) counts as no importance, so that the penalty never pushes a parameter away from its anchor.

    Args:
        damping: Added to the squared distance, so that short paths do not divide by 0; above 0.
    """

    damping: float

    def __post_init__(self):
        super().__post_init__()
        require(0 < self.damping < math.inf, "damping", self.damping, "above 0")

    def task_importance(self, net: nn.Module, theta: Theta, task: Task) -> Tensor:  # noqa: ARG002
        """The drop of the loss over the squared distance, [P]."""
        distance = theta.value - self.departure  # [P]
        return self.drop.clamp(min=0) / (distance.square() + self.damping)

    def end_task(self, net: nn.Module, theta: Theta, task: Task) -> None:
        """Add the importance of the task, and start a new path."""
        super().end_task(net, theta, task)
        self.restart_path(theta)
