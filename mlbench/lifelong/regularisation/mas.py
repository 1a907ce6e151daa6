"""Memory aware synapses."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mlbench.core.errors import require
from mlbench.data.split import Batch
from mlbench.data.stream import Task
from mlbench.lifelong.regularisation.quadratic_penalty import QuadraticPenalty
from mlbench.training.per_example_gradients import mean_gradient_sizes
from mlbench.training.theta import Theta


@dataclass
class MAS(QuadraticPenalty):
    """Memory aware synapses (Aljundi et al. 2018, eq. 2-4): the sensitivity of the network's outputs.

    The importance is the mean, over single examples, of |d ||logits||^2 / d theta|; it needs no labels.

    Args:
        samples: Examples of each task from which the importance is computed, at least 1.
    """

    samples: int

    def __post_init__(self):
        super().__post_init__()
        require(self.samples >= 1, "samples", self.samples, "1 or more")

    def task_importance(self, net: nn.Module, theta: Theta, task: Task) -> Tensor:
        """The mean absolute gradient [P] of the squared norm of the logits."""
        batches = self.sample_batches(task.train, self.samples)
        return mean_gradient_sizes(net, theta, batches, self.squared_norm, torch.abs)

    def squared_norm(self, net: nn.Module, batch: Batch) -> Tensor:
        """The squared norm [B] of each example's logits."""
        return self.logits(net, batch).square().sum(1)
