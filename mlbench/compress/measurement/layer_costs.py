"""The size and the time of each layer of a network."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mlbench.runs.codec.encodings import encode
from mlbench.runs.codec.tensors import place, to_array
from mlbench.training.module_hooks import hooked


def own_parameters(net: nn.Module) -> dict[str, list[Tensor]]:
    """Path of a layer -> its parameters as ordinary tensors, for every layer with parameters of its own.

    One that several layers share is with the first of them, as it is in the file only once.
    """
    seen, owned = set(), {}
    for path, layer in net.named_modules():
        for parameter in layer.parameters(recurse=False):
            own = owned.setdefault(path, [])
            plain = type(parameter) in (Tensor, nn.Parameter) and parameter.numel()
            where = place(parameter) if plain else id(parameter)
            if where not in seen:
                own.append(dense(parameter))
            seen.add(where)
    return owned


def size(parameters: list[Tensor]) -> dict[str, int]:
    """The columns on the size of a layer in layers.csv, from its parameters."""
    return {
        "parameters": sum(p.numel() for p in parameters),
        "nonzero": sum(int(torch.count_nonzero(p)) for p in parameters),
        "bytes": sum(len(encode(to_array(p)[1], entropy=False)) for p in parameters),
    }


def layer_seconds(
    net: nn.Module, names: list[str], batch: Tensor, times: int, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Run `net` on `batch` several times, and time each layer.

    A layer counts wherever it is called from: the modules that contain it need not be called themselves.

    Args:
        net: The network.
        names: Paths of the layers.
        batch: Input of the network, [B, ...].
        times: Number of forward passes.
        clock: Returns the present time in seconds.

    Returns:
        Path of a layer -> the seconds of all its calls in each pass, with the layers inside it, [times].
    """
    spent: dict[str, list[float]] = {name: [] for name in names}
    hooks = []
    for name, own in spent.items():
        starts: list[float] = []  # a stack: calls of one layer may be nested
        before = lambda *_, starts=starts: starts.append(clock())  # noqa: E731
        after = lambda *_, starts=starts, own=own: add(own, clock() - starts.pop(), nested=bool(starts))  # noqa: E731
        layer = net.get_submodule(name)
        hooks += [layer.register_forward_pre_hook(before), layer.register_forward_hook(after)]
    with hooked(hooks):
        for _ in range(times):
            for own in spent.values():
                own.append(0.0)
            net(batch)
    return spent


def add(spent: list[float], seconds: float, nested: bool) -> None:
    """Add to the seconds of the last pass; a call inside a call of the same layer is in that one's time already."""
    if not nested:
        spent[-1] += seconds


def dense(parameter: Tensor) -> Tensor:
    """The parameter as an ordinary tensor, dequantised if need be."""
    return parameter.dequantize() if type(parameter) not in (Tensor, nn.Parameter) else parameter.detach()
