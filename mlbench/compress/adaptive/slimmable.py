"""One network, many widths."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from mlbench.compress.base import Finetuned, Point, Workbench, recalibrate
from mlbench.core.errors import UserError, require
from mlbench.data.split import Batch
from mlbench.models.surgery import note_sizes
from mlbench.training.learner import Learner

NORMS = (nn.BatchNorm2d, nn.BatchNorm1d)


@dataclass
class Slimmable(Finetuned):
    """Slimmable networks (Yu et al. 2019): each width uses the first channels of every layer of one network.

    All `widths` are trained together, the gradients of their losses added up (algorithm 1). Batch norm is `switchable`:
    statistics, scale and shift of its own for each width; `recalibrated`: one scale and shift, statistics computed
    anew for each width after training (Yu & Huang 2019); `shared`: one of everything, which ruins the narrow ones.
    One of the widths in `between`, drawn at each step, learns along (after their sandwich rule); switchable batch norm
    has nothing for them and leaves them out. Each width becomes an ordinary smaller network. The last layer keeps its
    outputs. `alone` trains each of `widths` by itself as well, to compare with.
    """

    widths: list[float]
    between: list[float]
    batch_norm: Literal["switchable", "recalibrated", "shared"]
    alone: bool

    def __post_init__(self):
        super().__post_init__()
        for name in ("widths", "between"):
            values = getattr(self, name)
            require(all(0 < width <= 1 for width in values), name, values, "shares above 0 and up to 1")
        require(bool(self.widths), "widths", self.widths, "one width or more")
        require(self.finetune_epochs > 0, "finetune_epochs", self.finetune_epochs, "1 or more: it is what trains")

    @property
    def begins_anew(self) -> bool:
        """Always: the widths learn together from the beginning."""
        return True

    def check(self, net: nn.Module) -> None:
        """Only a plain chain of layers can be cut without looking at how they are connected."""
        if not isinstance(net, nn.Sequential) or any(list(layer.children()) for layer in net):
            raise UserError("compress=slimmable needs a chain of layers, as in model=cnn, lenet5 or mlp")
        if odd := [type(layer).__name__ for layer in net if not can_be_cut(layer)]:
            told = "needs plain convolutions without groups, linear layers and batch norms with weights"
            raise UserError(f"compress=slimmable {told}; this network has {odd[0]}")

    def compress(self, dense: Point, bench: Workbench) -> Iterator[Point]:
        """A point for each width, the narrowest first, each after the same width trained alone."""
        whole = copy.deepcopy(bench.start)
        switchable = self.batch_norm == "switchable"
        between = [] if switchable else self.between
        slim, learner = Slim(whole, self.widths if switchable else []), AllWidths(self.widths, between)
        self.train_on(slim, bench, "all widths", learner)
        for width in sorted({*self.widths, *between}):
            if self.alone and width in self.widths:
                single = cut(copy.deepcopy(bench.start), width)
                self.finetune(single, bench, f"width {width:g} alone")
                yield Point(f"alone {width:g}", single, dense.entropy, dense.blueprint)
            net = cut(slim.at(width), width)
            if self.batch_norm == "recalibrated":
                recalibrate(net, bench.train, bench.generator)
            yield Point(f"width {width:g}", net, dense.entropy, dense.blueprint)

    def metrics(self, rows: list[dict[str, Any]], correct: np.ndarray) -> dict[str, float]:  # noqa: ARG002
        """`width_error_increase`: the most that a width falls short, in accuracy, of the same width trained alone."""
        found = {row["stage"]: row["accuracy"] for row in rows}
        lost = [found[f"alone {width:g}"] - found[f"width {width:g}"] for width in self.widths] if self.alone else []
        return {"width_error_increase": max(lost)} if lost else {}


def can_be_cut(layer: nn.Module) -> bool:
    """Whether its first channels alone are a smaller layer, or it has none of its own."""
    if isinstance(layer, nn.Conv2d):
        return layer.groups == 1 and layer.padding_mode == "zeros"
    if isinstance(layer, NORMS):
        return layer.affine and layer.track_running_stats
    return isinstance(layer, nn.Linear) or not list(layer.parameters())


class Slim(nn.Module):
    """The network that is trained; its `width` decides how many channels of each layer take part."""

    def __init__(self, net: nn.Sequential, own_norms: list[float]):
        super().__init__()
        self.net, self.width = net, 1.0
        self.norms = nn.ModuleDict(
            {
                f"{index}/{key(width)}": cut_norm(layer, kept(layer.num_features, width))
                for index, layer in enumerate(net)
                if isinstance(layer, NORMS)
                for width in own_norms
            }
        )

    def norm(self, index: int, width: float) -> nn.Module:
        """The batch norm of a place and width, or the one that all widths share."""
        name = f"{index}/{key(width)}"
        return self.norms[name] if name in self.norms else self.net[index]

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, outputs] at the present width."""
        last = len(self.net) - 1
        for index, layer in enumerate(self.net):
            if isinstance(layer, nn.Conv2d):
                size = kept(layer.out_channels, self.width)
                bias = None if layer.bias is None else layer.bias[:size]
                weight = layer.weight[:size, : x.shape[1]]
                x = nn.functional.conv2d(x, weight, bias, layer.stride, layer.padding, layer.dilation)
            elif isinstance(layer, nn.Linear):
                size = layer.out_features if index == last else kept(layer.out_features, self.width)
                bias = None if layer.bias is None else layer.bias[:size]
                x = nn.functional.linear(x, layer.weight[:size, : x.shape[1]], bias)
            elif isinstance(layer, NORMS):
                x = normalised(self.norm(index, self.width), x, self.training)
            else:
                x = layer(x)
        return x

    def at(self, width: float) -> nn.Sequential:
        """A plain copy with the batch norms of a width."""
        net = copy.deepcopy(self.net)
        for index, layer in enumerate(net):
            if isinstance(layer, NORMS):
                net[index] = copy.deepcopy(self.norm(index, width))
        return net


class AllWidths(Learner):
    """The sum of the cross-entropies at all `widths` and, in training, at one of those in `between`."""

    def __init__(self, widths: list[float], between: list[float]):
        self.widths, self.between = widths, between

    def loss(self, net: Slim, batch: Batch) -> Tensor:
        """A number."""
        total, widths = torch.zeros((), device=batch.y.device), self.widths
        if self.between and net.training:
            widths = [*widths, self.between[torch.randint(len(self.between), ())]]  # torch's own draws are each fit's
        for net.width in widths:
            total = total + super().loss(net, batch)
        net.width = 1.0
        return total


def key(width: float) -> str:
    """A width as part of a module's name."""
    return f"{width:g}".replace(".", "_")


def kept(channels: int, width: float) -> int:
    """How many of the channels take part, at least one."""
    return max(1, round(channels * width))


def normalised(norm: nn.Module, x: Tensor, training: bool) -> Tensor:
    """Batch norm with the first x.shape[1] of its channels; in training it moves their running averages."""
    size = x.shape[1]
    statistics = norm.running_mean[:size], norm.running_var[:size]
    return nn.functional.batch_norm(
        x, *statistics, norm.weight[:size], norm.bias[:size], training, norm.momentum, norm.eps
    )


@torch.no_grad()
def cut_norm(norm: nn.Module, size: int) -> nn.Module:
    """A batch norm of the first `size` channels."""
    made = type(norm)(size).to(norm.weight.device)
    made.load_state_dict({name: v[:size] if v.ndim else v for name, v in norm.state_dict().items()})
    return made


@torch.no_grad()
def cut(net: nn.Sequential, width: float) -> nn.Sequential:
    """The network with only the first channels of each layer, as ordinary smaller layers; `net` is changed."""
    shape, last = None, len(net) - 1  # channels that come in; None: all there are
    for index, layer in enumerate(net):
        if isinstance(layer, nn.Conv2d):
            inputs, outputs = shape or layer.in_channels, kept(layer.out_channels, width)
            placed = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
            made = nn.Conv2d(inputs, outputs, *placed, bias=layer.bias is not None)
            shape, before = outputs, layer.out_channels
        elif isinstance(layer, nn.Linear):
            each = 1 if shape is None else layer.in_features // before  # values behind a Flatten of one channel
            inputs = layer.in_features if shape is None else shape * each
            outputs = layer.out_features if index == last else kept(layer.out_features, width)
            made = nn.Linear(inputs, outputs, bias=layer.bias is not None)
            shape, before = outputs, layer.out_features
        elif isinstance(layer, NORMS) and layer.num_features != shape:
            net[index] = cut_norm(layer, shape)
            continue
        else:
            continue
        made.weight.copy_(layer.weight[:outputs, :inputs])
        if layer.bias is not None:
            made.bias.copy_(layer.bias[:outputs])
        net[index] = made.to(layer.weight.device)
    note_sizes(net)
    return net.eval()
