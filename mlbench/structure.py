"""Layers that differ from those the config builds: how they are described, and how they are put back.

Techniques that change layers (fewer channels, two layers for one) leave an ordinary network. What is needed to build it
again travels as data: for each changed place the layer's kind and its arguments, in the attribute `replaced`.
"""

from typing import Any

from torch import nn

from mlbench.int8 import Int8Linear

ARGUMENTS = {
    "Linear": ("in_features", "out_features"),
    "Conv2d": ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups"),
    "BatchNorm2d": ("num_features",),
    "BatchNorm1d": ("num_features",),
    "Int8Linear": ("in_features", "out_features", "dynamic", "reduced"),
}
OWN = {"Int8Linear": Int8Linear}  # kinds that are not torch's
Layers = dict[str, dict[str, Any]]  # path of a layer -> its description


def describe(layer: nn.Module) -> dict[str, Any]:
    """A layer, or a Sequential of layers, as plain values. Raises ValueError for other kinds."""
    kind = type(layer).__name__
    if kind == "Sequential":
        return {"kind": kind, "layers": [describe(inner) for inner in layer]}
    if kind not in ARGUMENTS:
        raise ValueError(f"a layer of kind {kind} cannot be described")
    described = {name: getattr(layer, name) for name in ARGUMENTS[kind]}
    described = {name: list(value) if isinstance(value, tuple) else value for name, value in described.items()}
    return {
        "kind": kind,
        **described,
        **({"bias": layer.bias is not None} if kind in ("Linear", "Conv2d", "Int8Linear") else {}),
    }


def make(description: dict[str, Any]) -> nn.Module:
    """The inverse of `describe`, with fresh weights. Raises ValueError for kinds that are not known."""
    arguments = {name: tuple(v) if isinstance(v, list) else v for name, v in description.items() if name != "kind"}
    if description["kind"] == "Sequential":
        return nn.Sequential(*(make(inner) for inner in arguments["layers"]))
    if description["kind"] not in ARGUMENTS:
        raise ValueError(f"unknown kind of layer {description['kind']}")
    return (OWN.get(description["kind"]) or getattr(nn, description["kind"]))(**arguments)


def layers(net: nn.Module) -> dict[str, nn.Module]:
    """Path -> layer of every layer that can be described and is not part of another."""
    return {path: module for path, module in net.named_modules() if type(module).__name__ in ARGUMENTS}


def replace(net: nn.Module, path: str, layer: nn.Module) -> None:
    """Put `layer` at `path` and note it in `net.replaced`."""
    put(net, path, layer)
    net.replaced = {**getattr(net, "replaced", {}), path: describe(layer)}


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


def put(net: nn.Module, path: str, layer: nn.Module) -> None:
    """Set the submodule at `path`."""
    parent, _, name = path.rpartition(".")
    setattr(net.get_submodule(parent), name, layer)
