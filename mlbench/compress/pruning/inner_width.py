"""Pairs of layers with neurons of their own between them, in networks that mix channels elsewhere: transformers.

The inner neurons of a feed-forward block are the only ones that can be removed without touching anything else.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor, nn

from mlbench.models.surgery import computes_plainly
from mlbench.training.module_hooks import hooked
from mlbench.training.module_modes import eval_mode

Pair = tuple[str, str]  # paths of two layers, the second of which reads the first
CLOSE = 1e-4  # of the same outputs, computed twice, relative to the largest


@torch.no_grad()
def inner_pairs(net: nn.Module, x: Tensor) -> list[Pair]:
    """The pairs of linear or convolutional layers between which neurons can be removed.

    A pair counts where the network without half of the neurons between gives what it gives with zeros in their place.

    Args:
        net: The network.
        x: Inputs [B, ...] to try it on.
    """
    with eval_mode(net):
        calls = calls_of(net, x)
        pairs = [
            (first, second)
            for first, second in pairwise(calls)
            if calls.count(first) == calls.count(second) == 1 and fit_together(net, first, second)
        ]
        return [pair for pair in pairs if stands_alone(net, pair, x)]


def calls_of(net: nn.Module, x: Tensor) -> list[str]:
    """Paths of the modules with parameters of their own, in the order in which they are called."""
    calls: list[str] = []
    hooks = [
        module.register_forward_hook(lambda *_, path=path: calls.append(path))
        for path, module in net.named_modules()
        if any(True for _ in module.parameters(recurse=False))
    ]
    with hooked(hooks):
        net(x)
    return calls


def fit_together(net: nn.Module, first: str, second: str) -> bool:
    """Whether the second layer takes as many numbers or channels as the first gives."""
    one, other = net.get_submodule(first), net.get_submodule(second)
    plain = type(one) is type(other) and computes_plainly(one) and computes_plainly(other)
    ungrouped = getattr(one, "groups", 1) == getattr(other, "groups", 1) == 1
    return plain and ungrouped and len(one.weight) == other.weight.shape[1] > 1


def stands_alone(net: nn.Module, pair: Pair, x: Tensor) -> bool:
    """Whether neurons between the two layers can be removed: tried with half of them, and undone."""
    one, other = (net.get_submodule(path) for path in pair)
    keep = torch.arange(0, len(one.weight), 2, device=one.weight.device)
    with as_it_was(one), as_it_was(other):
        columns = torch.zeros_like(other.weight)
        columns[:, keep] = other.weight[:, keep]
        other.weight = nn.Parameter(columns)
        expected = net(x)
        remove(one, other, keep)
        try:
            found = net(x)
        except RuntimeError:  # others count on the number: heads of attention
            return False
    size = expected.abs().max().clamp(min=1e-6)
    return found.shape == expected.shape and bool((found - expected).abs().max() <= CLOSE * size)


@contextmanager
def as_it_was(layer: nn.Module) -> Iterator[None]:
    """Inside, the layer may be changed; afterwards it is what it was."""
    fields, parameters = dict(vars(layer)), dict(layer._parameters)
    try:
        yield
    finally:
        vars(layer).update(fields)
        layer._parameters.update(parameters)


@torch.no_grad()
def remove(one: nn.Module, other: nn.Module, keep: Tensor) -> None:
    """Leave the outputs `keep` [k] of the first of two layers, and what the second makes of them."""
    learns = one.weight.requires_grad, other.weight.requires_grad
    one.weight = nn.Parameter(one.weight[keep].clone(), learns[0])
    if one.bias is not None:
        one.bias = nn.Parameter(one.bias[keep].clone(), one.bias.requires_grad)
    other.weight = nn.Parameter(other.weight[:, keep].clone(), learns[1])
    names = ("out_features", "in_features") if isinstance(one, nn.Linear) else ("out_channels", "in_channels")
    setattr(one, names[0], len(keep))
    setattr(other, names[1], len(keep))
