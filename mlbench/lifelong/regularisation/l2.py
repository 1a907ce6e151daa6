"""L2: every weight held equally."""

from dataclasses import dataclass

import torch
from torch import nn

from mlbench.data.stream import Task
from mlbench.lifelong.regularisation.quadratic_penalty import Anchored
from mlbench.training.theta import Theta


@dataclass
class L2(Anchored):
    """All importances 1: the control that selective plasticity must beat (as in Kirkpatrick et al. 2017, fig. 2)."""

    def end_task(self, net: nn.Module, theta: Theta, task: Task) -> None:  # noqa: ARG002
        """Hold everything where it is now."""
        self.importance, self.anchor = torch.ones_like(theta.value), theta.copy()
