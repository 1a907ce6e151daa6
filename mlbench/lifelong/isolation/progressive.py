"""Progressive networks."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mlbench.core.errors import UserError
from mlbench.data.split import Split
from mlbench.data.stream import Task
from mlbench.lifelong.base import frozen_copy
from mlbench.lifelong.isolation.per_task import PerTask
from mlbench.training.module_hooks import hooked
from mlbench.training.theta import Theta


@dataclass
class Progressive(PerTask):
    """Progressive networks (Rusu et al. 2016, eq. 1): a new column for each task, with input from frozen older ones.

    Any network can be the column: each of its linear and convolutional layers except the first has one lateral layer of
    the same shape for each older column, and the outputs are added. The laterals have no adapters (eq. 2 of the
    paper), and their weights start at 0, so that a column starts as an independent network. The number of parameters
    grows with the square of the number of tasks.
    """

    frozen_networks = ("initial",)

    def start_task(self, net: nn.Module, task: Task) -> nn.Module:
        """Add a column; the first task turns the network into one."""
        first = not self.numbers
        super().start_task(net, task)
        if first:
            if not layers_with_laterals(net):
                raise UserError(
                    "progressive networks connect a new column's layers with those of older ones, and this network has "
                    "only one that learns\nlifelong=independent is the same without"
                )
            self.initial = frozen_copy(net)
            return Columns(net, 1)
        return net.with_new_column(self.initial)

    def undecayed(self, net: nn.Module, theta: Theta, split: Split) -> list[slice]:  # noqa: ARG002
        """Nothing: the outputs of a column belong to one task."""
        return []

    def predictor(self, net: nn.Module, task: int) -> nn.Module:
        """The network with the column of the task as its output."""
        return net.with_output(self.part(task)) if self.numbers else net

    def load_state(self, state: dict[str, Any], net: nn.Module) -> nn.Module:
        """Rebuild the columns."""
        super().load_state(state, net)
        return Columns(net, len(self.numbers)) if self.numbers else net


class Columns(nn.Module):
    """Columns with the structure of `net`, each with lateral input from those before it.

    Only the newest column and its laterals are trained.

    Args:
        net: The network of which each column is a copy.
        count: The number of columns.
        answers: The index of the column whose logits are the output; None is the last one.
    """

    def __init__(self, net: nn.Module, count: int, answers: int | None = None):
        super().__init__()
        self.columns, self.laterals = nn.ModuleList(), nn.ModuleList()
        self.learning = [parameter.requires_grad for parameter in net.parameters()]  # the others stay frozen
        for _ in range(count):
            self.add_column(net)
        self.answers = count - 1 if answers is None else answers

    @property
    def wrapping(self) -> dict[str, Any]:
        """How `mlbench.load` rebuilds the columns from a model."""
        target = "mlbench.lifelong.isolation.progressive.Columns"
        return {"_target_": target, "count": len(self.columns), "answers": self.answers}

    def add_column(self, net: nn.Module) -> None:
        """Freeze the older columns, and add a copy of `net` with its laterals [layer][older column]."""
        self.requires_grad_(False)
        self.laterals.append(
            nn.ModuleList(
                nn.ModuleList(lateral_layer(layer) for _ in range(len(self.columns)))
                for layer in layers_with_laterals(net)
            )
        )
        self.columns.append(copy.deepcopy(net))
        for parameter, learns in zip(self.columns[-1].parameters(), self.learning, strict=True):
            parameter.requires_grad_(learns)

    def with_new_column(self, net: nn.Module) -> "Columns":
        """Add a copy of `net` as a column, which gives the output; returns itself."""
        self.add_column(net)
        self.answers = len(self.columns) - 1
        return self

    def with_output(self, column: int) -> "Columns":
        """A view of the same columns in which the given one gives the output."""
        if column == self.answers:
            return self
        view = copy.copy(self)
        view.answers = column
        return view

    def train(self, mode: bool = True) -> "Columns":
        """Set the mode of the newest column; the others stay in eval mode, so that their batch norm does not change."""
        super().train(mode)
        for column in self.columns[:-1]:
            column.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """The logits [B, outputs] of the output column for pictures x [B, C, H, W]."""
        inputs: list[list[Tensor]] = []  # [column][layer]
        for column, laterals in zip(self.columns[: self.answers + 1], self.laterals, strict=False):
            outputs = column_logits(column, x, laterals, inputs)
        return outputs


def column_logits(column: nn.Module, x: Tensor, laterals: nn.ModuleList, inputs: list[list[Tensor]]) -> Tensor:
    """The logits of one column.

    Args:
        column: The network.
        x: Pictures [B, C, H, W].
        laterals: Its lateral layers [layer][older column].
        inputs: What the layers of the older columns received, [older column][layer]; the column's own are appended.

    Returns:
        The logits [B, outputs].
    """
    layers = layers_with_laterals(column)
    own: list[Tensor | None] = [None] * len(layers)

    def add_laterals(place: int, layer_input: Tensor, output: Tensor) -> Tensor:
        own[place] = layer_input
        for lateral, older in zip(laterals[place], inputs, strict=True):
            output = output + lateral(older[place])
        return output

    hooks = [
        layer.register_forward_hook(lambda _, arguments, output, place=place: add_laterals(place, arguments[0], output))
        for place, layer in enumerate(layers)
    ]
    with hooked(hooks):
        logits = column(x)
    inputs.append(own)
    return logits


def layers_with_laterals(net: nn.Module) -> list[nn.Module]:
    """The linear and convolutional layers except the first, whose input is the same picture in all columns."""
    return [module for module in net.modules() if isinstance(module, nn.Linear | nn.Conv2d)][1:]


def lateral_layer(layer: nn.Module) -> nn.Module:
    """A layer of the same shape, without bias, whose weights are 0."""
    lateral = copy.deepcopy(layer)
    lateral.bias = None
    with torch.no_grad():
        lateral.weight.zero_()
    return lateral.requires_grad_(True)
