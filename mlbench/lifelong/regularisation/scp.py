"""Sliced Cramer preservation."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mlbench.core.errors import require
from mlbench.data.stream import Task
from mlbench.lifelong.regularisation.quadratic_penalty import QuadraticPenalty
from mlbench.training.module_modes import eval_mode
from mlbench.training.theta import Theta


@dataclass
class SCP(QuadraticPenalty):
    """Sliced Cramer preservation (Kolouri et al. 2020, algorithm 1): preserves the distribution of the outputs.

    The importance is the mean, over directions xi drawn uniformly from the unit sphere, of the squared gradient of
    xi . (mean logits of some examples). That gradient is linear in xi, so that one Jacobian serves all directions.

    Args:
        samples: Examples of each task over which the logits are averaged, at least 1.
        slices: The number of directions, at least 1.
    """

    samples: int
    slices: int

    def __post_init__(self):
        super().__post_init__()
        require(self.samples >= 1, "samples", self.samples, "1 or more")
        require(self.slices >= 1, "slices", self.slices, "1 or more")

    def task_importance(self, net: nn.Module, theta: Theta, task: Task) -> Tensor:
        """The mean squared gradient [P] of the sliced mean logits."""
        jacobian = self.mean_jacobian(net, theta, task)  # [classes, P]
        directions = torch.randn(self.slices, len(jacobian), generator=self.generator).to(jacobian.device)
        directions /= directions.norm(dim=1, keepdim=True)
        # mean_l (xi_l . J)^2 for every parameter, without the [slices, P] matrix
        second_moment = directions.T @ directions / self.slices  # [classes, classes]
        return (jacobian * (second_moment @ jacobian)).sum(0).clamp_(min=0)

    def mean_jacobian(self, net: nn.Module, theta: Theta, task: Task) -> Tensor:
        """The gradient of each mean logit over a sample of the task, [classes, P]."""
        total, count = 0.0, 0
        with eval_mode(net):
            for batch in self.sample_batches(task.train, self.samples):
                total = total + jacobian(self.logits(net, batch).sum(0), theta)
                count += len(batch.y)
        return total / count


def jacobian(outputs: Tensor, theta: Theta) -> Tensor:
    """The gradient [n, P] of each of the `outputs` [n] with respect to the parameter vector."""
    parameters, rows = list(theta.parameters.values()), []
    for number, output in enumerate(outputs, start=1):
        more = number < len(outputs)
        gradients = torch.autograd.grad(output, parameters, retain_graph=more, materialize_grads=True)
        row = theta.zeros()
        for view, gradient in zip(theta.named(row).values(), gradients, strict=True):
            view.copy_(gradient)
        rows.append(row)
    return torch.stack(rows)
