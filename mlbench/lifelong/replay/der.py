"""Dark experience replay."""

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlbench.core.errors import require
from mlbench.data.split import Batch, Split
from mlbench.lifelong.buffer import Memory
from mlbench.lifelong.replay.replay import SampledReplay, joined
from mlbench.training.evaluation import answers


@dataclass
class DER(SampledReplay):
    """Dark experience replay (Buzzega et al. 2020, eq. 3-5): the network shall answer old examples as it once did.

    loss = cross-entropy(new) + alpha * mean squared difference between the logits of stored examples and those that the
    network gave when their task ended. (The paper stores logits along the way, for streams whose tasks have no end.)
    """

    alpha: float

    def __post_init__(self):
        super().__post_init__()
        require(0 <= self.alpha < math.inf, "alpha", self.alpha, "0 or more")

    def fresh(self, net: nn.Module, split: Split, count: int) -> Memory:
        """Examples with the outputs that the network gives them now."""
        chosen = super().fresh(net, split, count)
        stored = chosen.split(self.normalise, self.transform)
        outputs = [given for given, _ in answers(net, stored, lambda net, batch: net(batch.x))]
        return replace(chosen, outputs=torch.cat(outputs))

    def loss(self, net: nn.Module, batch: Batch) -> Tensor:
        """Cross-entropy on the new examples, the squared difference on the stored ones; one forward pass."""
        if self.memory is None:
            return super().loss(net, batch)
        stored, old = self.draw()
        logits = self.logits(net, joined(batch, old))
        new = len(batch.y)
        then = self.heads(stored.outputs, stored.tasks)
        return F.cross_entropy(logits[:new], batch.y) + self.alpha * F.mse_loss(logits[new:], then)
