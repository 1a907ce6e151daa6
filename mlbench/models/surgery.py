"""Surgery on layers: describing, replacing and rebuilding layers that differ from those the config builds.

Methods that change layers (fewer channels, two layers in place of one) leave an ordinary network. Its attribute
`replaced` holds what is needed to rebuild it: the kind and the arguments of each changed layer, by its path.
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
    """Describe a layer, or a Sequential of layers, by plain values.

    Args:
        layer: An instance of one of `CLASSES` itself, not of a subclass; or a Sequential of such layers.

    Returns:
        The `kind`, and the arguments that differ from torch's defaults.

    Raises:
        ValueError: For any other module.
    """
    if type(layer) is nn.Sequential:
        return {"kind": "Sequential", "layers": [describe(inner) for inner in layer]}
    if not can_be_described(layer):
        raise ValueError(f"a layer of kind {type(layer).__name__} cannot be described")
    described = {"kind": type(layer).__name__}
    for name, argument in inspect.signature(type(layer)).parameters.items():
        if name not in PLACEMENT:
            value = layer.bias is not None if name == "bias" else getattr(layer, name)
            if value != argument.default:
                described[name] = list(value) if isinstance(value, tuple) else value
    return described


def can_be_described(layer: nn.Module) -> bool:
    """Whether the module is a single layer of a kind that `describe` can handle."""
    return type(layer) in CLASSES


def make(description: dict[str, Any]) -> nn.Module:
    """Build a layer from its description, with fresh weights. Raises ValueError for an unknown kind."""
    arguments = {name: tuple(v) if isinstance(v, list) else v for name, v in description.items() if name != "kind"}
    if description["kind"] == "Sequential":
        return nn.Sequential(*(make(inner) for inner in arguments["layers"]))
    if description["kind"] not in KINDS:
        raise ValueError(f"unknown kind of layer {description['kind']}")
    return KINDS[description["kind"]](**arguments)


def layers(net: nn.Module) -> dict[str, nn.Module]:
    """Path -> layer, for every layer that can be described."""
    return {path: module for path, module in net.named_modules() if can_be_described(module)}


def replace(net: nn.Module, path: str, layer: nn.Module) -> None:
    """Put `layer` at `path` and record it in `net.replaced`; records of layers inside the old one are dropped."""
    put(net, path, layer)
    recorded = {
        place: about for place, about in getattr(net, "replaced", {}).items() if not place.startswith(f"{path}.")
    }
    net.replaced = {**recorded, path: describe(layer)}


def note_sizes(net: nn.Module) -> None:
    """Record every layer as it is now in `net.replaced`, for methods that change layers in place."""
    recorded = getattr(net, "replaced", {})
    inside = tuple(f"{path}." for path, about in recorded.items() if about["kind"] == "Sequential")
    outer = {path: describe(layer) for path, layer in layers(net).items() if not path.startswith(inside)}
    again = {path: describe(net.get_submodule(path)) for path in recorded}
    net.replaced = {**again, **outer}


def restore(net: nn.Module, replaced: Layers) -> None:
    """Rebuild in `net` the layers that `replaced` describes; ValueError or AttributeError where they do not fit."""
    for path, description in replaced.items():
        net.get_submodule(path)
        put(net, path, make(description))
    if replaced:
        net.replaced = dict(replaced)


def submodule(net: nn.Module, path: str, setting: str) -> nn.Module:
    """The layer at the path that the setting called `setting` gives. Raises UserError where there is none."""
    layers = {name: module for name, module in net.named_modules() if name}
    if path not in layers:
        message = f"{setting}={path}: the network has no such layer{nearest(path, layers)}"
        raise UserError(f"{message}\nthere are: {', '.join(layers)}")
    return layers[path]


def last_linear(net: nn.Module) -> nn.Linear | None:
    """The last linear layer, whose outputs are the logits in most networks; None where there is none."""
    return next((layer for layer in reversed(list(net.modules())) if isinstance(layer, nn.Linear)), None)


def has_early_exits(net: nn.Module) -> bool:
    """Whether the network has early exits, so that not every example reaches every layer (it counts `entered`)."""
    return any(hasattr(module, "entered") for module in net.modules())


def put(net: nn.Module, path: str, layer: nn.Module) -> None:
    """Set the submodule at `path`."""
    parent, _, name = path.rpartition(".")
    setattr(net.get_submodule(parent), name, layer)
