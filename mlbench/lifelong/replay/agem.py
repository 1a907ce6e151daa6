"""Averaged gradient episodic memory."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from mlbench.lifelong.replay.episodic import Episodic
from mlbench.lifelong.replay.replay_batch import Rehearsing
from mlbench.training.module_modes import eval_mode, group_statistics
from mlbench.training.theta import Theta

TINY = 1e-30


@dataclass
class AGEM(Rehearsing, Episodic):
    """Averaged GEM (Chaudhry et al. 2019, eq. 11): one reference gradient instead of one for each task.

    The reference is the gradient of `replay_batch` examples drawn anew at each step from the whole memory. Where the
    step's gradient g points against it (g . r < 0), g becomes g - (g . r / r . r) r.
    """

    def adjust(self, net: nn.Module, theta: Theta) -> None:
        """Project the gradient when it points against the reference."""
        if self.memory is None:
            return
        old, gradient = self.remembered(self.count).batch(self.normalise), theta.grad.clone()  # [P]
        theta.grad.zero_()
        with group_statistics(net) if self.count > 1 else eval_mode(net):
            F.cross_entropy(self.logits(net, old), old.y).backward()
        share = torch.dot(gradient, theta.grad) / torch.dot(theta.grad, theta.grad).clamp(min=TINY)
        theta.grad.mul_(-share.clamp(max=0)).add_(gradient)
