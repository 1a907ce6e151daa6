"""L2: the same importance for every parameter."""

from dataclasses import dataclass

import torch
from torch import nn

from mlbench.data.stream import Task
from mlbench.lifelong.regularisation.quadratic_penalty import QuadraticPenalty
from mlbench.training.theta import Theta


@dataclass
class L2(QuadraticPenalty):
    """All importances are 1: the control that selective plasticity must beat (as in Kirkpatrick et al. 2017, fig. 2).

    The anchor is the newest parameters; importances of several tasks do not add up.
    """

    def end_task(self, net: nn.Module, theta: Theta, task: Task) -> None:  # noqa: ARG002
        """Anchor all parameters where they are now."""
        self.importance, self.anchor = torch.ones_like(theta.value), theta.copy()
