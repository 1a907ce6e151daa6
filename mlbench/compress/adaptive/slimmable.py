"""Slimmable networks: one network that runs at several widths."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from mlbench.compress.base import Context, Finetuned, Point, recalibrate
from mlbench.core.errors import UserError, require
from mlbench.data.split import Batch
from mlbench.models.surgery import note_sizes
from mlbench.training.learner import Learner

NORMS = (nn.BatchNorm2d, nn.BatchNorm1d)


@dataclass
class Slimmable(Finetuned):
    """Slimmable networks (Yu et al. 2019): each width uses the first channels of every layer of one network.

    All widths are trained together by the sum of their losses (algorithm 1). Each width becomes an ordinary smaller
    network; the last layer keeps all its outputs.

    Args:
        widths: Shares of the channels, each above 0 and up to 1.
        between: More widths, of which one is drawn at each step, after the sandwich rule of Yu & Huang (2019).
            Switchable batch norm has no layers for them and leaves them out.
        batch_norm: `switchable`: statistics, scale and shift of its own for each width. `recalibrated`: shared scale
            and shift, statistics recomputed for each width after training (Yu & Huang 2019). `shared`: everything
            shared, which ruins the narrow widths.
        alone: Whether to train each of `widths` by itself as well, for comparison.
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
    def from_scratch(self) -> bool:
        """Always true: the widths are trained together from untrained weights."""
        return True

    def check(self, net: nn.Module) -> None:
        """Raise UserError unless the network is a plain chain of layers, which can be cut one by one."""
        if not isinstance(net, nn.Sequential) or any(list(layer.children()) for layer in net):
            raise UserError("compress=slimmable needs a chain of layers, as in model=cnn, lenet5 or mlp")
        if unsuitable := [type(layer).__name__ for layer in net if not can_be_cut(layer)]:
            needs = "needs plain convolutions without groups, linear layers and batch norms with weights"
            raise UserError(f"compress=slimmable {needs}; this network has {unsuitable[0]}")

    def compress(self, dense: Point, context: Context) -> Iterator[Point]:
        """Yield a point for each width, the narrowest first; with `alone` the width trained alone before it."""
        whole = copy.deepcopy(context.start)
        switchable = self.batch_norm == "switchable"
        between = [] if switchable else self.between
        slim, learner = Slim(whole, self.widths if switchable else []), AllWidths(self.widths, between)
        self.train_on(slim, context, "all widths", learner)
        for width in sorted({*self.widths, *between}):
            if self.alone and width in self.widths:
                single = cut(copy.deepcopy(context.start), width)
                self.finetune(single, context, f"width {width:g} alone")
                yield Point(f"alone {width:g}", single, dense.entropy, dense.blueprint)
            net = cut(slim.at(width), width)
            if self.batch_norm == "recalibrated":
                recalibrate(net, context.train, context.generator)
            yield Point(f"width {width:g}", net, dense.entropy, dense.blueprint)

    def metrics(self, rows: list[dict[str, Any]], correct: np.ndarray) -> dict[str, float]:  # noqa: ARG002
        """With `alone`, `width_error_increase`: the largest loss of accuracy against the same width trained alone."""
        if not self.alone:
            return {}
        accuracy = {row["stage"]: row["accuracy"] for row in rows}
        return {
            "width_error_increase": max(
                accuracy[f"alone {width:g}"] - accuracy[f"width {width:g}"] for width in self.widths
            )
        }


def can_be_cut(layer: nn.Module) -> bool:
    """Whether the layer can be cut to its first channels, or has no parameters to cut."""
    if isinstance(layer, nn.Conv2d):
        return layer.groups == 1 and layer.padding_mode == "zeros"
    if isinstance(layer, NORMS):
        return layer.affine and layer.track_running_stats
    return isinstance(layer, nn.Linear) or not list(layer.parameters())


class Slim(nn.Module):
    """The network in training; its attribute `width` sets the share of each layer's channels that are used.

    Args:
        net: The chain of layers at full width.
        own_norms: Widths that get batch norms of their own; the others share those of `net`.
    """

    def __init__(self, net: nn.Sequential, own_norms: list[float]):
        super().__init__()
        self.net, self.width = net, 1.0
        self.norms = nn.ModuleDict(
            {
                f"{index}/{key(width)}": cut_norm(layer, channels_at(layer.num_features, width))
                for index, layer in enumerate(net)
                if isinstance(layer, NORMS)
                for width in own_norms
            }
        )

    def norm(self, index: int, width: float) -> nn.Module:
        """The batch norm at an index of the chain for a width: its own, or the shared one."""
        name = f"{index}/{key(width)}"
        return self.norms[name] if name in self.norms else self.net[index]

    def forward(self, x: Tensor) -> Tensor:
        """The logits [B, outputs] of pictures [B, C, H, W] at the present width."""
        last = len(self.net) - 1
        for index, layer in enumerate(self.net):
            if isinstance(layer, nn.Conv2d):
                size = channels_at(layer.out_channels, self.width)
                bias = None if layer.bias is None else layer.bias[:size]
                weight = layer.weight[:size, : x.shape[1]]
                x = nn.functional.conv2d(x, weight, bias, layer.stride, layer.padding, layer.dilation)
            elif isinstance(layer, nn.Linear):
                size = layer.out_features if index == last else channels_at(layer.out_features, self.width)
                bias = None if layer.bias is None else layer.bias[:size]
                x = nn.functional.linear(x, layer.weight[:size, : x.shape[1]], bias)
            elif isinstance(layer, NORMS):
                x = normalised(self.norm(index, self.width), x, self.training)
            else:
                x = layer(x)
        return x

    def at(self, width: float) -> nn.Sequential:
        """A copy of the chain at full width, with the batch norms of a width where it has its own."""
        net = copy.deepcopy(self.net)
        for index, layer in enumerate(net):
            if isinstance(layer, NORMS):
                net[index] = copy.deepcopy(self.norm(index, width))
        return net


class AllWidths(Learner):
    """Train all widths at once.

    Args:
        widths: Widths whose losses are added up at every step.
        between: Widths of which one is drawn at every training step.
    """

    def __init__(self, widths: list[float], between: list[float]):
        self.widths, self.between = widths, between

    def loss(self, net: Slim, batch: Batch) -> Tensor:
        """The sum of the cross-entropies of the widths, a scalar."""
        total, widths = torch.zeros((), device=batch.y.device), self.widths
        if self.between and net.training:
            widths = [
                *widths,
                self.between[torch.randint(len(self.between), ())],
            ]  # torch's global generator, which each fit seeds
        for net.width in widths:
            total = total + super().loss(net, batch)
        net.width = 1.0
        return total


def key(width: float) -> str:
    """A width as part of the name of a module, which may not contain a dot."""
    return f"{width:g}".replace(".", "_")


def channels_at(channels: int, width: float) -> int:
    """The number of channels used at a width, at least one."""
    return max(1, round(channels * width))


def normalised(norm: nn.Module, x: Tensor, training: bool) -> Tensor:
    """Apply the first channels of a batch norm to `x`; in training it updates their running statistics."""
    size = x.shape[1]
    statistics = norm.running_mean[:size], norm.running_var[:size]
    return nn.functional.batch_norm(
        x, *statistics, norm.weight[:size], norm.bias[:size], training, norm.momentum, norm.eps
    )


@torch.no_grad()
def cut_norm(norm: nn.Module, size: int) -> nn.Module:
    """A batch norm of the first `size` channels."""
    smaller = type(norm)(size).to(norm.weight.device)
    smaller.load_state_dict({name: v[:size] if v.ndim else v for name, v in norm.state_dict().items()})
    return smaller


@torch.no_grad()
def cut(net: nn.Sequential, width: float) -> nn.Sequential:
    """Cut a network to the first channels of each layer.

    Args:
        net: The chain of layers, changed in place.
        width: Share of the channels to keep.

    Returns:
        `net` with ordinary smaller layers, in eval mode.
    """
    shape, last = None, len(net) - 1  # input channels of the next layer; None: all
    for index, layer in enumerate(net):
        if isinstance(layer, nn.Conv2d):
            inputs, outputs = shape or layer.in_channels, channels_at(layer.out_channels, width)
            geometry = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
            smaller = nn.Conv2d(inputs, outputs, *geometry, bias=layer.bias is not None)
            shape, before = outputs, layer.out_channels
        elif isinstance(layer, nn.Linear):
            each = 1 if shape is None else layer.in_features // before  # features of one channel behind a Flatten
            inputs = layer.in_features if shape is None else shape * each
            outputs = layer.out_features if index == last else channels_at(layer.out_features, width)
            smaller = nn.Linear(inputs, outputs, bias=layer.bias is not None)
            shape, before = outputs, layer.out_features
        elif isinstance(layer, NORMS) and layer.num_features != shape:
            net[index] = cut_norm(layer, shape)
            continue
        else:
            continue
        smaller.weight.copy_(layer.weight[:outputs, :inputs])
        if layer.bias is not None:
            smaller.bias.copy_(layer.bias[:outputs])
        net[index] = smaller.to(layer.weight.device)
    note_sizes(net)
    return net.eval()
