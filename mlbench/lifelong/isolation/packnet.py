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
    """PackNet (Mallya & Lazebnik 2018): a task takes the largest of the free weights, the others are free again.

    After a task each layer keeps the share `fraction` of its free weights, by magnitude; the rest is set to 0, what was
    kept learns `retrain_epochs` more and is then frozen. A task is answered with the weights of the tasks up to it.
    `fraction: null` shares the weights equally among the tasks of the stream. Biases and batch norm belong to the first
    task; in the task scenario a task keeps its own outputs whole.
    """

    fraction: float | None
    retrain_epochs: int

    state_fields = ("numbers", "owner")

    def __post_init__(self):
        require(self.fraction is None or 0 < self.fraction < 1, "fraction", self.fraction, "above 0, below 1, or null")
        require(self.retrain_epochs >= 0, "retrain_epochs", self.retrain_epochs, "0 or more")

    def begin(self, stream: Stream, training: Training, compute: Compute, generator: torch.Generator) -> None:
        """No weights are held outside `fit`."""
        super().begin(stream, training, compute, generator)
        self.pruned = None  # [P] bool, while what was kept is trained again

    def start(self, net: nn.Module, theta: Theta) -> None:
        """Hold what is owned; batch norm stays as the first task left it."""
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
        """No gradient where weights are fixed."""
        theta.grad.masked_fill_(self.fixed, 0.0)

    def after_step(self, net: nn.Module, theta: Theta, step_size: Callable[[], float | Tensor]) -> None:  # noqa: ARG002
        """Fixed weights do not follow momentum or decay either."""
        torch.where(self.fixed, self.values, theta.value, out=theta.value)

    def end_task(self, net: nn.Module, theta: Theta, task: Task) -> None:
        """Prune, train what is left, and own it."""
        place = len(self.numbers)
        kept = self.chosen(net, theta, task)
        self.pruned = (self.owner == FREE) & ~kept & ~self.other_outputs(net, theta, task)
        theta.value.masked_fill_(self.pruned, 0.0)
        if self.retrain_epochs and self.pruned.any():
            again = dataclasses.replace(self.training, epochs=self.retrain_epochs, validation=0.0, patience=0)
            fit(net, task.train, self, again, self.compute, self.generator)
            self.samples_replayed += len(task.train) * self.retrain_epochs
        self.owner[kept] = place
        self.pruned = None

    def chosen(self, net: nn.Module, theta: Theta, task: Task) -> Tensor:
        """The free weights [P] that the task keeps."""
        free = self.owner == FREE
        outputs = self.outputs_of(net, theta) if isinstance(self.heads, OwnHeads) else set()
        kept = torch.zeros_like(free)
        share = self.fraction or 1 / max(1, self.task_count - len(self.numbers) + 1)
        for name, place in theta.layout.items():
            if name in outputs or theta.parameters[name].ndim == 1:
                kept[place] = free[place]
                continue
            sizes = theta.value[place].abs().masked_fill(~free[place], -1.0)
            count = round(share * int(free[place].sum()))
            kept[place][sizes.topk(count).indices] = True
        return kept & ~self.other_outputs(net, theta, task)

    def outputs_of(self, net: nn.Module, theta: Theta) -> set[str]:
        """The names of the last layer's parameters."""
        own = {id(parameter) for parameter in last_linear(net).parameters()}
        return {name for name, parameter in theta.parameters.items() if id(parameter) in own}

    def other_outputs(self, net: nn.Module, theta: Theta, task: Task) -> Tensor:
        """Where [P] the outputs of other tasks lie."""
        mask = torch.zeros(theta.value.shape, dtype=torch.bool, device=theta.value.device)
        for piece in self.undecayed(net, theta, task.train):
            mask[piece] = True
        return mask

    def predictor(self, net: nn.Module, task: int) -> nn.Module:
        """The network with only the weights of the tasks up to `task`."""
        part = self.part(task) + 1
        if part >= len(self.numbers):
            return net
        packed = copy.deepcopy(net)
        theta = Theta(packed, channels_last=True)
        theta.value.masked_fill_(self.owner > part, 0.0)
        return packed
