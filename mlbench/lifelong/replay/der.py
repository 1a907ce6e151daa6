"""Dark experience replay."""

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlbench.core.errors import require
from mlbench.data.split import Batch
from mlbench.data.stream import Task
from mlbench.lifelong.buffer import POLICIES
from mlbench.lifelong.replay.base import ReplayMethod, concatenate
from mlbench.lifelong.stored_examples import StoredExamples
from mlbench.training.evaluation import answers
from mlbench.training.theta import Theta


@dataclass
class DER(ReplayMethod):
    """Dark experience replay (Buzzega et al. 2020, eq. 3-5): the network should reproduce its earlier logits.

    loss = cross-entropy(new examples) + alpha * mean squared difference between the logits of stored examples and the
    logits stored with them, which are those at the end of their task. The paper stores logits during training, for
    streams without task boundaries.

    Args:
        memory_total: Capacity of the buffer, in examples.
        policy: Which examples stay in the buffer: `reservoir` or `balanced`.
        alpha: Weight of the stored logits in the loss, 0 or more.
    """

    memory_total: int
    policy: Literal["reservoir", "balanced"]
    alpha: float

    def __post_init__(self):
        super().__post_init__()
        self.buffer = POLICIES[self.policy](self.memory_total)
        require(0 <= self.alpha < math.inf, "alpha", self.alpha, "0 or more")

    def loss(self, net: nn.Module, batch: Batch) -> Tensor:
        """Cross-entropy on the new examples, squared difference on the stored ones; one forward pass."""
        if not self.buffer:
            return super().loss(net, batch)
        stored = self.draw()
        logits = self.logits(net, concatenate(batch, self.buffer.batch(stored)))
        new = len(batch.y)
        return F.cross_entropy(logits[:new], batch.y) + self.alpha * self.distance(logits[new:], stored)

    def distance(self, logits: Tensor, stored: StoredExamples) -> Tensor:
        """Mean squared difference between `logits` [n, classes] and those stored with the examples."""
        return F.mse_loss(logits, self.heads(stored.outputs, stored.tasks))

    def end_task(self, net: nn.Module, theta: Theta, task: Task) -> None:  # noqa: ARG002
        """Store examples of the task, with the outputs that the network gives them now."""
        new = self.buffer.sample(task.train)
        self.samples_consolidated += len(new)
        outputs = [part for part, _ in answers(net, self.buffer.split(new), lambda net, batch: net(batch.x))]
        self.buffer.add(replace(new, outputs=torch.cat(outputs)), len(task.train))
