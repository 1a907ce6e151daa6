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
    """Learning without forgetting (Li & Hoiem 2016, eq. 1-3): distillation from the earlier network on new pictures.

    loss = cross-entropy + strength * distillation from the network before the task, on the outputs of earlier tasks:
    each earlier head (task scenario), all earlier classes (class), or all outputs (domain). Unlike in the paper, the
    distillation has the factor T^2, and there are no first epochs that train the new outputs alone.

    Args:
        strength: Weight of the distillation, 0 or more; 0 is fine-tuning.
        temperature: Temperature T of the distillation, above 0.
    """

    strength: float
    temperature: float

    state_fields = ("task",)
    frozen_networks = ("teacher",)

    def __post_init__(self):
        require(0 <= self.strength < math.inf, "strength", self.strength, "0 or more")
        require(0 < self.temperature < math.inf, "temperature", self.temperature, "above 0")

    def loss(self, net: nn.Module, batch: Batch) -> Tensor:
        """Cross-entropy on the new task plus distillation on the outputs of earlier ones."""
        outputs = net(batch.x)
        loss = F.cross_entropy(self.heads(outputs, batch.task), batch.y)
        if not hasattr(self, "teacher"):
            return loss
        with torch.no_grad():
            before = self.heads.earlier(self.teacher(batch.x), self.task)
        now = self.heads.earlier(outputs, self.task)
        return loss + self.strength * distillation(now, before, self.temperature)

    def start_task(self, net: nn.Module, task: Task) -> nn.Module:
        """Note the number of the task, which says which outputs are those of earlier tasks."""
        self.task = task.train.newest_task
        return net

    def end_task(self, net: nn.Module, theta: Theta, task: Task) -> None:  # noqa: ARG002
        """Copy the network as the teacher of the next task."""
        self.teacher = frozen_copy(net)
