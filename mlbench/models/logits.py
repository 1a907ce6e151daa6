"""The logits of networks that give more than one tensor: a tuple, a dict, a dataclass."""

import dataclasses
from collections.abc import Iterator, Mapping

from torch import Tensor, nn

OWN = "mlbench.models."
FIRST = "logits"  # the entry of a dict that is looked at first


class Logits:
    """A forward hook that gives a network's logits [B, outputs] in place of what they are wrapped in.

    The first tensor of that shape counts, of a dict that called `logits` before others. A tensor stays as it is. A
    hook, unlike a module around the network, leaves the names of its parameters as they are.

    Args:
        outputs: The number of logits.
    """

    def __init__(self, outputs: int):
        self.outputs = outputs

    def __call__(self, net: nn.Module, inputs: tuple[Tensor, ...], found: object) -> Tensor:  # noqa: ARG002
        """The logits in `found`. Raises ValueError where there are none, saying what there is."""
        if isinstance(found, Tensor):
            return found
        for tensor in tensors(found):
            if tensor.shape == (inputs[0].shape[0], self.outputs):
                return tensor
        raise ValueError(f"it gives {described(found)}, without a tensor [B, {self.outputs}] of logits")


def with_logits(net: nn.Module, outputs: int) -> nn.Module:
    """The network itself, whose calls give its logits [B, outputs] from now on, whatever else its forward gives.

    The networks of this package give nothing else and are left alone.
    """
    own = type(net).__module__.startswith(OWN)
    if not own and not any(isinstance(hook, Logits) for hook in net._forward_hooks.values()):
        net.register_forward_hook(Logits(outputs))
    return net


def tensors(found: object) -> Iterator[Tensor]:
    """All tensors in nested tuples, lists, dicts and dataclasses, in order but for `logits`, which comes first."""
    if isinstance(found, Tensor):
        yield found
        return
    parts = entries(found)
    for key in sorted(parts, key=lambda key: key != FIRST):  # a stable order
        yield from tensors(parts[key])


def entries(found: object) -> dict[object, object]:
    """What a collection holds, by name or number; nothing for what is none."""
    if isinstance(found, Mapping):
        return dict(found)
    if dataclasses.is_dataclass(found):
        return {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
    if isinstance(found, tuple | list):
        names = getattr(found, "_fields", range(len(found)))
        return dict(zip(names, found, strict=True))
    return {}


def described(found: object) -> str:
    """What a network gave, for people: types, names and shapes."""
    if isinstance(found, Tensor):
        return str(list(found.shape))
    inside = ", ".join(f"{key}: {described(value)}" for key, value in entries(found).items())
    return f"{type(found).__name__}({inside})" if inside else type(found).__name__
