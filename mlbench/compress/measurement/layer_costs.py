"""The size and the costs of each layer of a network."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from mlbench.runs.codec.encodings import encode
from mlbench.training.module_hooks import hooked


def layer_size(layer: nn.Module) -> dict[str, Any]:
    """The kind and the size of a layer, as columns of layers.csv."""
    parameters = [dense(p) for p in layer.parameters(recurse=False)]
    return {
        "kind": type(layer).__name__,
        "parameters": sum(p.numel() for p in parameters),
        "nonzero": sum(int(torch.count_nonzero(p)) for p in parameters),
        "bytes": sum(len(encode(p.cpu().numpy(), entropy=False)) for p in parameters),
    }


def per_layer(
    net: nn.Module, names: list[str], batch: Tensor, times: int, counter: Callable[[], float]
) -> dict[str, list[float]]:
    """Run `net` on `batch` several times, and read by how much a counter grows during each call of each layer.

    A layer counts wherever it is called from: the modules that contain it need not be called themselves.

    Args:
        net: The network.
        names: Paths of the layers.
        batch: Input of the network, [B, ...].
        times: Number of forward passes.
        counter: Returns the present value of a quantity that grows, such as the time.

    Returns:
        Path of a layer -> the growth during each of its calls.
    """
    growth: dict[str, list[float]] = {name: [] for name in names}
    hooks = []
    for name, own in growth.items():
        starts: list[float] = []  # a stack: calls of one layer may be nested
        before = lambda *_, starts=starts: starts.append(counter())  # noqa: E731
        after = lambda *_, starts=starts, own=own: own.append(counter() - starts.pop())  # noqa: E731
        layer = net.get_submodule(name)
        hooks += [layer.register_forward_pre_hook(before), layer.register_forward_hook(after)]
    with hooked(hooks):
        for _ in range(times):
            net(batch)
    return growth


def dense(parameter: Tensor) -> Tensor:
    """The parameter as an ordinary tensor, dequantised if need be."""
    return parameter.dequantize() if type(parameter) not in (Tensor, nn.Parameter) else parameter.detach()
