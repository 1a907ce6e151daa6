"""Dark experience replay ++."""

import math
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from mlbench.core.errors import require
from mlbench.data.split import Batch
from mlbench.lifelong.replay.base import concatenate
from mlbench.lifelong.replay.der import DER


@dataclass
class DERPP(DER):
    """Dark experience replay ++ (Buzzega et al. 2020, eq. 6): DER plus the true labels of a second draw.

    Args:
        beta: Weight of the stored labels in the loss, 0 or more.
    """

    beta: float

    def __post_init__(self):
        super().__post_init__()
        require(0 <= self.beta < math.inf, "beta", self.beta, "0 or more")

    def loss(self, net: nn.Module, batch: Batch) -> Tensor:
        """DER's loss plus beta * cross-entropy on a second draw; one forward pass."""
        if not self.buffer:
            return super().loss(net, batch)
        stored = self.draw()
        first = self.buffer.batch(stored)
        second = self.buffer.batch(self.draw())
        sizes = [len(part.y) for part in (batch, first, second)]
        new, for_logits, for_labels = self.logits(net, concatenate(batch, first, second)).split(sizes)
        replay = self.alpha * self.distance(for_logits, stored) + self.beta * F.cross_entropy(for_labels, second.y)
        return F.cross_entropy(new, batch.y) + replay

    def replay_ratio(self, task: int) -> float:
        """Two draws in each step."""
        return 2 * super().replay_ratio(task)
