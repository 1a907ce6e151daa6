"""Elastic weight consolidation."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from mlbench.core.errors import require
from mlbench.data.split import Batch, Split
from mlbench.data.stream import Task
from mlbench.lifelong.regularisation.quadratic_penalty import QuadraticPenalty
from mlbench.training.module_modes import eval_mode
from mlbench.training.per_example_gradients import squared_gradients
from mlbench.training.theta import Theta

TINY = 1e-30


@dataclass
class EWC(QuadraticPenalty):
    """Elastic weight consolidation (Kirkpatrick et al. 2017, eq. 3): the importance is the Fisher information.

    The penalties of all earlier tasks are merged, exactly, into one quadratic: importances add up, and the anchor is
    the mean of the tasks' solutions weighted by their importances. Online EWC is `decay` below 1 (Schwarz et al. 2018,
    who also move the anchor to the newest parameters; here it stays the mean).

    Args:
        fisher: `empirical` takes the labels of the data, `true` draws labels from the network's own predictions.
        samples: Examples of each task whose squared gradients are averaged, at least 1.
        decay: Factor from 0 to 1 on the importance of earlier tasks at the end of each task.
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
        fisher = self.task_importance(net, theta, task)  # [P]
        earlier = self.decay * self.importance
        self.importance = earlier + fisher
        mean = (earlier * self.anchor + fisher * theta.value) / self.importance.clamp(min=TINY)
        share = torch.where(self.importance > 0, fisher / self.importance, 1.0)  # products of less than TINY vanish
        self.anchor = torch.where(self.importance > TINY, mean, self.anchor.lerp(theta.value, share))

    def task_importance(self, net: nn.Module, theta: Theta, task: Task) -> Tensor:
        """The diagonal of the Fisher information [P] at the present parameters."""
        return squared_gradients(net, theta, self.fisher_batches(net, task.train), self.logits)

    def fisher_batches(self, net: nn.Module, split: Split) -> Iterator[Batch]:
        """`samples` examples, with labels of the kind that `fisher` names."""
        for batch in self.sample_batches(split, self.samples):
            if self.fisher == "empirical":
                yield batch
                continue
            with eval_mode(net), torch.no_grad():
                probabilities = self.logits(net, batch).softmax(1).cpu()
            labels = torch.multinomial(probabilities, 1, generator=self.generator).squeeze(1)
            yield batch._replace(y=labels.to(batch.y.device))
