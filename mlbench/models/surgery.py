"""Layers that differ from those the config builds: how they are described, and how they are put back.

Techniques that change layers (fewer channels, two layers for one) leave an ordinary network. What is needed to build it
again travels as data: for each changed place the layer's kind and its arguments, in the attribute `replaced`.
"""

import inspect
from typing import Any

from torch import nn

from mlbench.core.errors import UserError, nearest
from mlbench.models.int8_linear import Int8Linear

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)
CLASSES = (nn.Linear, nn.Conv1d, nn.Conv2d, *NORMS, Int8Linear)
KINDS = {cls.__name__: cls for cls in CLASSES}
PLACEMENT = {"device", "dtype"}  # where a layer lies, not what it is
Layers = dict[str, dict[str, Any]]  # path of a layer -> its description


def describe(layer: nn.Module) -> dict[str, Any]:
    """A layer, or a Sequential of layers, as plain values: the arguments that differ from torch's defaults.

    Raises ValueError for other kinds; a subclass is another kind, whatever its name.
    """
    if type(layer) is nn.Sequential:
        return {"kind": "Sequential", "layers": [describe(inner) for inner in layer]}
    if not known(layer):
        raise ValueError(f"a layer of kind {type(layer).__name__} cannot be described")
    described = {"kind": type(layer).__name__}
    for name, argument in inspect.signature(type(layer)).parameters.items():
        if name not in PLACEMENT:
            value = layer.bias is not None if name == "bias" else getattr(layer, name)
            if value != argument.default:
                described[name] = list(value) if isinstance(value, tuple) else value
    return described


def known(layer: nn.Module) -> bool:
    """Whether it is a single layer that can be described."""
    return type(layer) in CLASSES


def make(description: dict[str, Any]) -> nn.Module:
    """The inverse of `describe`, with fresh weights. Raises ValueError for kinds that are not known."""
    arguments = {name: tuple(v) if isinstance(v, list) else v for name, v in description.items() if name != "kind"}
    if description["kind"] == "Sequential":
        return nn.Sequential(*(make(inner) for inner in arguments["layers"]))
    if description["kind"] not in KINDS:
        raise ValueError(f"unknown kind of layer {description['kind']}")
    return KINDS[description["kind"]](**arguments)


def layers(net: nn.Module) -> dict[str, nn.Module]:
    """Path -> layer of every layer that can be described and is not part of another."""
    return {path: module for path, module in net.named_modules() if known(module)}


def replace(net: nn.Module, path: str, layer: nn.Module) -> None:
    """Put `layer` at `path` and note it in `net.replaced`; what was noted inside the old layer goes with it."""
    put(net, path, layer)
    noted = {place: about for place, about in getattr(net, "replaced", {}).items() if not place.startswith(f"{path}.")}
    net.replaced = {**noted, path: describe(layer)}


def note_sizes(net: nn.Module) -> None:
    """Note every layer as it is now: for techniques that change layers in place."""
    noted = getattr(net, "replaced", {})
    inside = tuple(f"{path}." for path, about in noted.items() if about["kind"] == "Sequential")
    outer = {path: describe(layer) for path, layer in layers(net).items() if not path.startswith(inside)}
    again = {path: describe(net.get_submodule(path)) for path in noted}
    net.replaced = {**again, **outer}


def restore(net: nn.Module, replaced: Layers) -> None:
    """Give `net` the layers that `replaced` describes. Raises ValueError or AttributeError for ones without a place."""
    for path, description in replaced.items():
        net.get_submodule(path)
        put(net, path, make(description))
    if replaced:
        net.replaced = dict(replaced)


def submodule(net: nn.Module, path: str, setting: str) -> nn.Module:
    """The layer at a path, which `setting` names. Raises UserError where there is none."""
    layers = {name: module for name, module in net.named_modules() if name}
    if path not in layers:
        told = f"{setting}={path}: the network has no such layer{nearest(path, layers)}"
        raise UserError(f"{told}\nthere are: {', '.join(layers)}")
    return layers[path]


def last_linear(net: nn.Module) -> nn.Linear | None:
    """The last linear layer, whose outputs are the logits of most networks."""
    return next((layer for layer in reversed(list(net.modules())) if isinstance(layer, nn.Linear)), None)


def can_be_left(net: nn.Module) -> bool:
    """Whether examples may leave before the end, so that not all reach every layer: then it counts who `entered`."""
    return any(hasattr(module, "entered") for module in net.modules())


def put(net: nn.Module, path: str, layer: nn.Module) -> None:
    """Set the submodule at `path`."""
    parent, _, name = path.rpartition(".")
    setattr(net.get_submodule(parent), name, layer)
