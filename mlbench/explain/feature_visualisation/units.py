"""Units of a network: how excited classes, filters and neurons are by pictures."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from mlbench.core.errors import UserError
from mlbench.data.split import Split
from mlbench.explain.attribution.inference_copy import folded
from mlbench.explain.base import Context, forward_at_once, is_large
from mlbench.training.module_hooks import hooked

Units = Callable[[Tensor], Tensor]
"""Normalised pictures [n, C, H, W] -> how excited each unit is, [n, units]."""

AT_ONCE = 256  # pictures
SAMPLE = 500  # training pictures over which units vary
OVER_MAP: dict[str, Callable[[Tensor], Tensor]] = {  # [n, units, H, W] to [n, units]
    "mean": lambda maps: maps.mean((2, 3)),
    "centre": lambda maps: maps[:, :, maps.shape[2] // 2, maps.shape[3] // 2],
}


@contextmanager
def outputs_of(net: nn.Module, layer: str) -> Iterator[Callable[[Tensor], Tensor]]:
    """What tells the output of a layer for pictures; the hook that it needs is gone afterwards."""
    latest: list[Tensor] = []
    keep = lambda module, inputs, output: latest.append(output.clone())  # noqa: ARG005, E731 - a later ReLU may overwrite

    def read(x: Tensor) -> Tensor:
        latest.clear()
        net(x)
        if not latest:
            raise UserError(f"explain.layer={layer}: it is not reached by all examples; take another layer")
        return latest[-1]

    with hooked([net.get_submodule(layer).register_forward_hook(keep)]):
        yield read


@contextmanager
def units_of(net: nn.Module, layer: str | None, place: str) -> Iterator[Units]:
    """What tells how excited the units are: classes where `layer` is None."""
    if layer is None:
        yield net
        return

    with outputs_of(net, layer) as outputs:

        def read(x: Tensor) -> Tensor:
            output = outputs(x)
            if output.dim() not in (2, 4):
                raise UserError(f"explain.layer={layer}: its output {list(output.shape)} is neither units nor maps")
            return OVER_MAP[place](output) if output.dim() == 4 else output

        yield read


@torch.no_grad()
def peaks(net: nn.Module, layer: str, x: Tensor, filters: Tensor) -> Tensor | None:
    """Where in pictures [n, C, H, W] the map of a filter of each [n] is highest.

    Returns:
        Pixels [n, 2] from the top and from the left, or None for a layer without maps.
    """
    with outputs_of(net, layer) as outputs:
        parts = []
        for pictures, wanted in zip(*(t.split(forward_at_once(AT_ONCE, x)) for t in (x, filters)), strict=True):
            maps = outputs(pictures)
            if maps.dim() != 4:
                return None
            parts.append(maps[torch.arange(len(maps), device=maps.device), wanted])
    maps = torch.cat(parts)  # [n, h, w]
    highest = maps.flatten(1).argmax(1)
    cells = torch.stack([highest // maps.shape[2], highest % maps.shape[2]], 1)
    size = torch.tensor([side / count for side, count in zip(x.shape[2:], maps.shape[1:], strict=True)])
    return ((cells + 0.5) * size.to(cells.device)).long()


def quick(net: nn.Module, context: Context, layer: str | None) -> nn.Module:
    """The network or, for large pictures, a copy that computes the same units faster."""
    return folded(net, context.train.batch(context.train.places[:2]).x, layer) if is_large(context.input_shape) else net


@torch.no_grad()
def excitations(units: Units, split: Split, most: int = AT_ONCE) -> Tensor:
    """The activation of each unit by each example, [N, units], `most` small pictures at once."""
    size = forward_at_once(most, split.raw(split.places[:1]))
    return torch.cat([units(split.batch(index).x).float() for index in split.chunks(size)])


def spread(context: Context, units: Units) -> Tensor:
    """The standard deviation [units] of each unit over training pictures; 1 where it never changes, or of one."""
    order = torch.randperm(len(context.train), generator=torch.Generator().manual_seed(0))[:SAMPLE]
    values = excitations(units, context.train.take(order.to(context.train.labels.device)), SAMPLE)
    deviations = values.std(0) if len(values) > 1 else torch.zeros_like(values[0])
    return torch.where(deviations > 0, deviations, 1.0)


def width(layer: nn.Module | None) -> int | None:
    """How many units a layer has, where it says so."""
    counts = (getattr(layer, name, None) for name in ("out_channels", "out_features", "num_features"))
    return next((count for count in counts if count is not None), None)
