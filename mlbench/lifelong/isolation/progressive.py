"""Progressive networks."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mlbench.data.split import Split
from mlbench.data.stream import Task
from mlbench.lifelong.base import frozen_copy
from mlbench.lifelong.isolation.per_task import PerTask
from mlbench.training.module_hooks import hooked
from mlbench.training.theta import Theta


@dataclass
class Progressive(PerTask):
    """Progressive networks (Rusu et al. 2016, eq. 1): a new column for each task, fed also by the frozen older ones.

    Any network may be the column: each of its linear and convolutional layers but the first has one lateral layer of
    the same form for each older column, whose outputs add up. Laterals begin at 0, so that a column begins as an
    independent network. The parameters grow with the square of the number of tasks.
    """

    frozen_networks = ("initial",)

    def start_task(self, net: nn.Module, task: Task) -> nn.Module:
        """One column more."""
        first = not self.numbers
        super().start_task(net, task)
        if first:
            self.initial = frozen_copy(net)
            return Columns(net, 1)
        return net.grown(self.initial)

    def undecayed(self, net: nn.Module, theta: Theta, split: Split) -> list[slice]:  # noqa: ARG002
        """Nothing: a column's outputs serve its own task alone."""
        return []

    def predictor(self, net: nn.Module, task: int) -> nn.Module:
        """The task's own column, with those below it."""
        return net.answering(self.part(task)) if self.numbers else net

    def load_state(self, state: dict[str, Any], net: nn.Module) -> nn.Module:
        """As many columns as there were."""
        super().load_state(state, net)
        return Columns(net, len(self.numbers)) if self.numbers else net


class Columns(nn.Module):
    """`count` columns with the structure of `net`, each fed by those before it; the column `answers` gives the logits.

    Only the newest column and its laterals are trained.
    """

    def __init__(self, net: nn.Module, count: int, answers: int | None = None):
        super().__init__()
        self.columns, self.laterals = nn.ModuleList(), nn.ModuleList()
        for _ in range(count):
            self.add_column(net)
        self.answers = count - 1 if answers is None else answers

    @property
    def wrapping(self) -> dict[str, Any]:
        """How `mlbench.load` builds it around the model."""
        target = "mlbench.lifelong.isolation.progressive.Columns"
        return {"_target_": target, "count": len(self.columns), "answers": self.answers}

    def add_column(self, net: nn.Module) -> None:
        """A copy of `net` as column, with laterals [layer][older column]; the older ones are frozen."""
        self.requires_grad_(False)
        self.laterals.append(
            nn.ModuleList(nn.ModuleList(lateral(layer) for _ in range(len(self.columns))) for layer in fed_layers(net))
        )
        self.columns.append(copy.deepcopy(net).requires_grad_(True))

    def grown(self, net: nn.Module) -> "Columns":
        """The same columns and a new one, a copy of `net`, which answers."""
        self.add_column(net)
        self.answers = len(self.columns) - 1
        return self

    def answering(self, column: int) -> "Columns":
        """The same columns, with the given one answering."""
        if column == self.answers:
            return self
        view = copy.copy(self)
        view.answers = column
        return view

    def train(self, mode: bool = True) -> "Columns":
        """Only the newest column is ever in training mode: nothing in the others may move."""
        super().train(mode)
        for column in self.columns[:-1]:
            column.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """The logits [B, outputs] of the answering column."""
        inputs: list[list[Tensor]] = []  # of each column's fed layers
        for column, laterals in zip(self.columns[: self.answers + 1], self.laterals, strict=False):
            outputs = run(column, x, laterals, inputs)
        return outputs


def run(column: nn.Module, x: Tensor, laterals: nn.ModuleList, inputs: list[list[Tensor]]) -> Tensor:
    """The column's logits, its layers fed by the older columns' `inputs`, to which its own are appended."""
    layers = fed_layers(column)
    own: list[Tensor | None] = [None] * len(layers)

    def feed(place: int, given: Tensor, output: Tensor) -> Tensor:
        own[place] = given
        for side, older in zip(laterals[place], inputs, strict=True):
            output = output + side(older[place])
        return output

    hooks = [
        layer.register_forward_hook(lambda _, given, output, place=place: feed(place, given[0], output))
        for place, layer in enumerate(layers)
    ]
    with hooked(hooks):
        logits = column(x)
    inputs.append(own)
    return logits


def fed_layers(net: nn.Module) -> list[nn.Module]:
    """The linear and convolutional layers but the first, which sees the same picture in all columns."""
    return [module for module in net.modules() if isinstance(module, nn.Linear | nn.Conv2d)][1:]


def lateral(layer: nn.Module) -> nn.Module:
    """A layer of the same form, without bias, that begins at 0."""
    side = copy.deepcopy(layer)
    side.bias = None
    with torch.no_grad():
        side.weight.zero_()
    return side.requires_grad_(True)
