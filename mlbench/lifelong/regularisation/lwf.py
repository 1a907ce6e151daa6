"""Learning without forgetting."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlbench.core.errors import require
from mlbench.data.split import Batch
from mlbench.data.stream import Task
from mlbench.lifelong.base import Method, frozen_copy
from mlbench.training.losses import distillation
from mlbench.training.theta import Theta


@dataclass
class LwF(Method):
    """Learning without forgetting (Li & Hoiem 2016, eq. 1-3): on new pictures, old outputs shall answer as before.

    loss = cross-entropy + strength * distillation from the network as it was before the task, at `temperature`, on the
    outputs of earlier tasks: each earlier head (task scenario), all earlier classes (class), all outputs (domain).
    Unlike the paper's, the distillation has the factor T^2, and no epochs come first that train new outputs alone.
    """

    strength: float
    temperature: float

    state_fields = ("task",)
    frozen_networks = ("teacher",)

    def __post_init__(self):
        require(0 <= self.strength < math.inf, "strength", self.strength, "0 or more")
        require(0 < self.temperature < math.inf, "temperature", self.temperature, "above 0")

    def loss(self, net: nn.Module, batch: Batch) -> Tensor:
        """Cross-entropy on the new task, distillation on the old ones."""
        outputs = net(batch.x)
        loss = F.cross_entropy(self.heads(outputs, batch.task), batch.y)
        if not hasattr(self, "teacher"):
            return loss
        with torch.no_grad():
            before = self.heads.earlier(self.teacher(batch.x), self.task)
        now = self.heads.earlier(outputs, self.task)
        return loss + self.strength * distillation(now, before, self.temperature)

    def start_task(self, net: nn.Module, task: Task) -> nn.Module:
        """Which outputs belong to earlier tasks."""
        self.task = task.train.newest_task
        return net

    def end_task(self, net: nn.Module, theta: Theta, task: Task) -> None:  # noqa: ARG002
        """What the network is now, it shall remember."""
        self.teacher = frozen_copy(net)
