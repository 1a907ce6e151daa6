"""Averaged gradient episodic memory."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from mlbench.data.stream import Task
from mlbench.lifelong.buffer import TaskBuffer
from mlbench.lifelong.replay.base import ReplayMethod
from mlbench.training.module_modes import eval_mode, group_statistics
from mlbench.training.theta import Theta

TINY = 1e-30


@dataclass
class AGEM(ReplayMethod):
    """Averaged GEM (Chaudhry et al. 2019, eq. 11): one reference gradient instead of one for each task.

    The reference r is the gradient of the loss on `replay_batch` examples drawn from the whole buffer in each step. If
    the gradient g of the new examples points against it (g . r < 0), g becomes g - (g . r / r . r) r.

    Args:
        memory_total: Capacity of the buffer, in examples, shared equally among the tasks.
    """

    memory_total: int

    def __post_init__(self):
        super().__post_init__()
        self.buffer = TaskBuffer(self.memory_total)

    def adjust(self, net: nn.Module, theta: Theta) -> None:
        """Project the gradient if it points against the reference."""
        if not self.buffer:
            return
        old, gradient = self.draw().batch(self.normalise), theta.grad.clone()  # [P]
        theta.grad.zero_()
        with group_statistics(net) if self.count > 1 else eval_mode(net):
            F.cross_entropy(self.logits(net, old), old.y).backward()
        exponent = theta.grad.abs().max().frexp().exponent.clamp(-126, 126)  # of 2, a power of which is a float32
        theta.grad.ldexp_(-exponent)  # exact: a small gradient's square does not vanish
        factor = torch.dot(gradient, theta.grad) / torch.dot(theta.grad, theta.grad).clamp(min=TINY)
        theta.grad.mul_(-factor.clamp(max=0)).add_(gradient)

    def end_task(self, net: nn.Module, theta: Theta, task: Task) -> None:  # noqa: ARG002
        """Store the task's share of examples."""
        self.buffer.store(task.train)
