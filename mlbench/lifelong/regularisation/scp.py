"""Sliced Cramer preservation."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mlbench.core.errors import require
from mlbench.data.stream import Task
from mlbench.lifelong.regularisation.quadratic_penalty import Anchored
from mlbench.training.module_modes import eval_mode
from mlbench.training.theta import Theta


@dataclass
class SCP(Anchored):
    """Sliced Cramer preservation (Kolouri et al. 2020, algorithm 1): keep the distribution of the answers.

    The importance is the mean over `slices` directions xi, drawn evenly from the unit sphere, of the squared gradient
    of xi . (mean logits of `samples` examples). That gradient is linear in xi, so that one Jacobian serves all slices.
    It is summed over tasks, the anchor being the newest parameters.
    """

    samples: int
    slices: int

    def __post_init__(self):
        super().__post_init__()
        require(self.samples >= 1, "samples", self.samples, "1 or more")
        require(self.slices >= 1, "slices", self.slices, "1 or more")

    def end_task(self, net: nn.Module, theta: Theta, task: Task) -> None:
        """Add the sensitivity of the sliced mean answer."""
        jacobian = self.mean_jacobian(net, theta, task)  # [classes, P]
        directions = torch.randn(self.slices, len(jacobian), generator=self.generator).to(jacobian.device)
        directions /= directions.norm(dim=1, keepdim=True)
        # mean_l (xi_l . J)^2 for every parameter, without the [slices, P] matrix
        second_moment = directions.T @ directions / self.slices  # [classes, classes]
        self.importance += (jacobian * (second_moment @ jacobian)).sum(0).clamp_(min=0)
        self.anchor = theta.copy()

    def mean_jacobian(self, net: nn.Module, theta: Theta, task: Task) -> Tensor:
        """The gradient of each mean logit over the drawn examples, [classes, P]."""
        total, count = 0.0, 0
        with eval_mode(net):
            for batch in self.drawn(task.train, self.samples):
                sums = self.logits(net, batch).sum(0)  # [classes]
                parameters = list(theta.parameters.values())
                rows = []
                for number, value in enumerate(sums):
                    kept = number + 1 < len(sums)
                    found = torch.autograd.grad(value, parameters, retain_graph=kept, materialize_grads=True)
                    row = theta.zeros()
                    for view, gradient in zip(theta.named(row).values(), found, strict=True):
                        view.copy_(gradient)
                    rows.append(row)
                total, count = total + torch.stack(rows), count + len(batch.y)
        return total / count
