"""Dark experience replay ++."""

import math
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from mlbench.core.errors import require
from mlbench.data.split import Batch
from mlbench.lifelong.replay.der import DER
from mlbench.lifelong.replay.replay import joined


@dataclass
class DERPP(DER):
    """Dark experience replay ++ (Buzzega et al. 2020, eq. 6): DER and, on other stored examples, their true labels."""

    beta: float

    def __post_init__(self):
        super().__post_init__()
        require(0 <= self.beta < math.inf, "beta", self.beta, "0 or more")

    def loss(self, net: nn.Module, batch: Batch) -> Tensor:
        """DER's loss plus beta * cross-entropy on a second draw; one forward pass."""
        if self.memory is None:
            return super().loss(net, batch)
        (stored, old), (_, labelled) = self.draw(), self.draw()
        sizes = [len(part.y) for part in (batch, old, labelled)]
        new, dark, again = self.logits(net, joined(joined(batch, old), labelled)).split(sizes)
        then = self.heads(stored.outputs, stored.tasks)
        remembered = self.alpha * F.mse_loss(dark, then) + self.beta * F.cross_entropy(again, labelled.y)
        return F.cross_entropy(new, batch.y) + remembered

    def replays(self, task: int) -> float:
        """Two draws a step."""
        return 2 * super().replays(task)
