"""Memory aware synapses."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mlbench.core.errors import require
from mlbench.data.split import Batch
from mlbench.data.stream import Task
from mlbench.lifelong.regularisation.quadratic_penalty import Anchored
from mlbench.training.per_example_gradients import mean_gradient_sizes
from mlbench.training.theta import Theta


@dataclass
class MAS(Anchored):
    """Memory aware synapses (Aljundi et al. 2018, eq. 2-4): how much a parameter changes the network's answers.

    The importance is the mean over `samples` single examples of |d ||logits||^2 / d theta|; it needs no labels. It is
    summed over tasks, the anchor being the newest parameters.
    """

    samples: int

    def __post_init__(self):
        super().__post_init__()
        require(self.samples >= 1, "samples", self.samples, "1 or more")

    def end_task(self, net: nn.Module, theta: Theta, task: Task) -> None:
        """Add the sensitivity of the answers."""
        batches = self.drawn(task.train, self.samples)
        self.importance += mean_gradient_sizes(net, theta, batches, self.answer_energy, torch.abs)
        self.anchor = theta.copy()

    def answer_energy(self, net: nn.Module, batch: Batch) -> Tensor:
        """The squared norm [B] of each example's logits."""
        return self.logits(net, batch).square().sum(1)
