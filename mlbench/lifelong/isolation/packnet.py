"""PackNet: several tasks in the weights of one network."""

import copy
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mlbench.core.errors import require
from mlbench.data.output_heads import OwnHeads
from mlbench.data.stream import Stream, Task
from mlbench.lifelong.isolation.per_task import PerTask
from mlbench.models.surgery import last_linear
from mlbench.training.compute import Compute
from mlbench.training.loop import fit
from mlbench.training.optimizer import Training
from mlbench.training.theta import Theta

FREE = 0  # the owner of weights that no task has taken yet


@dataclass
class PackNet(PerTask):
    """PackNet (Mallya & Lazebnik 2018): each task takes the largest of the free weights and leaves the others free.

    After a task, each layer assigns the share `fraction` of its free weights to the task, by magnitude, and sets the
    others to 0. The assigned weights are trained for `retrain_epochs` more and then frozen. The evaluation of a task
    uses the weights of the tasks up to it. Biases and batch norm belong to the first task; in the task scenario a task
    owns all weights of its own outputs.

    Args:
        fraction: Share of the free weights that a task takes, between 0 and 1; None divides the weights equally among
            the tasks of the stream, which the paper does not.
        retrain_epochs: Epochs of training after pruning, 0 or more.
    """

    fraction: float | None
    retrain_epochs: int

    state_fields = ("numbers", "owner")
    shortest = {"retrain_epochs": 1}

    def __post_init__(self):
        require(self.fraction is None or 0 < self.fraction < 1, "fraction", self.fraction, "above 0, below 1, or null")
        require(self.retrain_epochs >= 0, "retrain_epochs", self.retrain_epochs, "0 or more")

    def begin(self, stream: Stream, training: Training, compute: Compute, generator: torch.Generator) -> None:
        """Start without pruned weights."""
        super().begin(stream, training, compute, generator)
        self.pruned = None  # [P] bool, during the training after pruning

    def start(self, net: nn.Module, theta: Theta) -> None:
        """Fix the weights of earlier tasks and the pruned ones; batch norm stays as after the first task."""
        if not hasattr(self, "owner"):
            self.owner = torch.zeros(theta.value.shape, dtype=torch.int16, device=theta.value.device)  # [P]
        fixed = self.owner != FREE
        if self.pruned is not None:
            fixed |= self.pruned
        self.fixed, self.values = fixed, theta.copy()  # [P], [P]
        if len(self.numbers) > 1:
            for module in net.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()

    def adjust(self, net: nn.Module, theta: Theta) -> None:  # noqa: ARG002
        """Set the gradient of fixed weights to 0."""
        theta.grad.masked_fill_(self.fixed, 0.0)

    def after_step(self, net: nn.Module, theta: Theta, step_size: Callable[[], float | Tensor]) -> None:  # noqa: ARG002
        """Restore the fixed weights, which momentum and weight decay may have changed."""
        torch.where(self.fixed, self.values, theta.value, out=theta.value)

    def end_task(self, net: nn.Module, theta: Theta, task: Task) -> None:
        """Prune, retrain the remaining weights, and assign them to the task."""
        owner = len(self.numbers)
        mask = self.task_weights(net, theta, task)  # [P]
        self.pruned = (self.owner == FREE) & ~mask & ~self.other_outputs(net, theta, task)
        theta.value.masked_fill_(self.pruned, 0.0)
        if self.retrain_epochs and self.pruned.any():
            retraining = dataclasses.replace(self.training, epochs=self.retrain_epochs, validation=0.0, patience=0)
            fit(net, task.train, self, retraining, self.compute, self.generator)
        self.owner[mask] = owner
        self.pruned = None

    def task_weights(self, net: nn.Module, theta: Theta, task: Task) -> Tensor:
        """Which weights [P] the task takes of the free ones."""
        free = self.owner == FREE
        outputs = self.output_names(net, theta) if isinstance(self.heads, OwnHeads) else set()
        mask = torch.zeros_like(free)
        share = self.fraction or 1 / max(1, self.task_count - len(self.numbers) + 1)
        for name, place in theta.layout.items():
            if name in outputs or theta.parameters[name].ndim == 1:
                mask[place] = free[place]
                continue
            magnitudes = theta.value[place].abs().masked_fill(~free[place], -1.0)
            count = round(share * int(free[place].sum()))
            mask[place][magnitudes.topk(count).indices] = True
        return mask & ~self.other_outputs(net, theta, task)

    def output_names(self, net: nn.Module, theta: Theta) -> set[str]:
        """The names of the last layer's parameters."""
        identities = {id(parameter) for parameter in last_linear(net).parameters()}
        return {name for name, parameter in theta.parameters.items() if id(parameter) in identities}

    def other_outputs(self, net: nn.Module, theta: Theta, task: Task) -> Tensor:
        """Which weights [P] are those of the outputs of other tasks."""
        mask = torch.zeros(theta.value.shape, dtype=torch.bool, device=theta.value.device)
        for piece in self.undecayed(net, theta, task.train):
            mask[piece] = True
        return mask

    def predictor(self, net: nn.Module, task: int) -> nn.Module:
        """The network with only the weights of the tasks up to `task`."""
        part = self.part(task) + 1
        if part >= len(self.numbers):
            return net
        masked = copy.deepcopy(net)
        theta = Theta(masked, channels_last=True)
        theta.value.masked_fill_(self.owner > part, 0.0)
        return masked
