"""Elastic weight consolidation."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from mlbench.core.errors import require
from mlbench.data.split import Batch, Split
from mlbench.data.stream import Task
from mlbench.lifelong.regularisation.quadratic_penalty import Anchored
from mlbench.training.module_modes import eval_mode
from mlbench.training.per_example_gradients import squared_gradients
from mlbench.training.theta import Theta

TINY = 1e-30


@dataclass
class EWC(Anchored):
    """Elastic weight consolidation (Kirkpatrick et al. 2017, eq. 3): the importance is the Fisher information.

    The penalties of all earlier tasks are one quadratic, exactly: importances add up, anchors average with the
    importances as weights; `decay` below 1 fades the older ones, as online EWC does (Schwarz et al. 2018, who also move
    the anchor to the newest parameters; here it stays the mean). `fisher` is the mean of squared gradients of `samples`
    single examples, with the labels of the data (empirical) or labels drawn from the network's own answers (true).
    """

    fisher: Literal["empirical", "true"]
    samples: int
    decay: float

    def __post_init__(self):
        super().__post_init__()
        require(self.samples >= 1, "samples", self.samples, "1 or more")
        require(0 <= self.decay <= 1, "decay", self.decay, "0 to 1")

    def end_task(self, net: nn.Module, theta: Theta, task: Task) -> None:
        """Add the task's Fisher information to the importance and its solution to the anchor."""
        fisher = squared_gradients(net, theta, self.labelled(net, task.train), self.logits)  # [P]
        kept = self.decay * self.importance
        self.importance = kept + fisher
        self.anchor = (kept * self.anchor + fisher * theta.value) / self.importance.clamp(min=TINY)
        self.anchor = torch.where(self.importance > 0, self.anchor, theta.value)

    def labelled(self, net: nn.Module, split: Split) -> Iterator[Batch]:
        """`samples` examples with the labels that `fisher` asks for."""
        for batch in self.drawn(split, self.samples):
            if self.fisher == "empirical":
                yield batch
                continue
            with eval_mode(net), torch.no_grad():
                answers = self.logits(net, batch).softmax(1).cpu()
            labels = torch.multinomial(answers, 1, generator=self.generator).squeeze(1)
            yield batch._replace(y=labels.to(batch.y.device))
