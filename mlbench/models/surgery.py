"""Surgery on layers: describing, replacing and rebuilding layers that differ from those the config builds.

Methods that change layers (fewer channels, two layers in place of one) leave an ordinary network. Its attribute
`replaced` holds what is needed to rebuild it: the kind and the arguments of each changed layer, by its path. A layer of
a class that is not known here (a convolution of the user's own, attention) is rebuilt from the one that the config
builds: a copy of the same class whose counts and whose parameters have other sizes.
"""

import copy
import inspect
from collections.abc import Iterable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from mlbench.core.errors import UserError, nearest
from mlbench.models.int8_linear import Int8Linear

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)
CLASSES = (nn.Linear, nn.Conv1d, nn.Conv2d, *NORMS, Int8Linear)
KINDS = {cls.__name__: cls for cls in CLASSES}
RESIZED = "resized"  # the kind of a copy with other sizes
ROUNDING = 1e-3  # of two orders of the same sums, relative to the largest
COUNTS = ("in_channels", "out_channels", "groups", "in_features", "out_features", "num_features", "num_channels",
          "num_groups", "num_parameters", "normalized_shape", "embed_dim", "kdim", "vdim", "num_heads", "head_dim",
          "input_size", "hidden_size", "embedding_dim")  # fmt: skip
READERS = (nn.MultiheadAttention, nn.TransformerEncoderLayer)  # compute with the weights of layers inside, unasked
PLACEMENT = {"device", "dtype"}  # where a layer lies, not what it is
Layers = dict[str, dict[str, Any]]  # path of a layer -> its description


def describe(layer: nn.Module) -> dict[str, Any]:
    """Describe a layer, or a Sequential of layers, by plain values.

    Args:
        layer: The layer; or a Sequential of layers.

    Returns:
        The `kind`, and the arguments that differ from torch's defaults; of a class not among `CLASSES` the counts and
        the shapes of its own parameters and buffers.
    """
    if type(layer) is nn.Sequential:
        return {"kind": "Sequential", "layers": [describe(inner) for inner in layer]}
    if not can_be_described(layer):
        counts = {name: value for name in COUNTS if (value := getattr(layer, name, None)) is not None}
        counts = {name: list(value) if isinstance(value, tuple) else value for name, value in counts.items()}
        return {"kind": RESIZED, "counts": counts, "shapes": {name: list(t.shape) for name, t in own_tensors(layer)}}
    described = {"kind": type(layer).__name__}
    for name, argument in inspect.signature(type(layer)).parameters.items():
        if name not in PLACEMENT:
            value = layer.bias is not None if name == "bias" else getattr(layer, name)
            if value != argument.default:
                described[name] = list(value) if isinstance(value, tuple) else value
    return described


def can_be_described(layer: nn.Module) -> bool:
    """Whether the module is a single layer of one of `CLASSES` itself, not of a subclass."""
    return type(layer) in CLASSES


def make(description: dict[str, Any], old: nn.Module | None = None) -> nn.Module:
    """Build a layer from its description, with fresh weights.

    Args:
        description: What `describe` returned.
        old: The layer that was in its place, for one of the same class with other sizes.

    Raises:
        ValueError: For an unknown kind, and for sizes that do not fit the old layer.
    """
    arguments = {name: tuple(v) if isinstance(v, list) else v for name, v in description.items() if name != "kind"}
    if description["kind"] == "Sequential":
        return nn.Sequential(*(make(inner, old) for inner in arguments["layers"]))
    if description["kind"] == RESIZED and old is not None:
        return resized(old, arguments["counts"], arguments["shapes"])
    if description["kind"] not in KINDS:
        raise ValueError(f"unknown kind of layer {description['kind']}")
    return KINDS[description["kind"]](**arguments)


def resized(old: nn.Module, counts: dict[str, Any], shapes: dict[str, list[int]]) -> nn.Module:
    """A copy of a layer with other counts, and with parameters and buffers of other shapes, filled with zeros."""
    layer = copy.deepcopy(old)
    for name, value in counts.items():
        if name not in COUNTS or not hasattr(layer, name):
            raise ValueError(f"a layer of kind {type(old).__name__} has no {name}")
        setattr(layer, name, tuple(value) if isinstance(value, list) else value)
    for name, tensor in own_tensors(layer):
        if name not in shapes:
            setattr(layer, name, None)
        elif list(tensor.shape) != shapes[name]:
            zeros = tensor.new_zeros(shapes[name])
            learns = tensor.requires_grad
            setattr(layer, name, nn.Parameter(zeros, learns) if isinstance(tensor, nn.Parameter) else zeros)
    return layer


def own_tensors(layer: nn.Module) -> list[tuple[str, Tensor]]:
    """The parameters and buffers of a layer itself, by name."""
    return [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]


def computes_plainly(layer: nn.Module) -> bool:
    """Whether a linear or convolutional layer computes as torch's own class does, be it one of a subclass."""
    parts = ("forward", "_conv_forward")
    base = next((cls for cls in (nn.Linear, nn.Conv1d, nn.Conv2d) if isinstance(layer, cls)), None)
    same = all(getattr(type(layer), part, None) is getattr(base, part, None) for part in parts)
    return base is not None and same and not hasattr(layer, "parametrizations")


def read_by_others(net: nn.Module) -> set[nn.Module]:
    """The layers whose weights the module around them computes with, so that nothing can stand in their place."""
    return {
        layer
        for module in net.modules()
        for name, layer in module.named_children()
        if isinstance(module, READERS) or f"self.{name}.weight" in source_of(type(module))
    }


@cache
def source_of(cls: type[nn.Module]) -> str:
    """What the forward of a class is written like; nothing where that cannot be had."""
    try:
        return inspect.getsource(cls.forward)
    except (OSError, TypeError):
        return ""


@torch.no_grad()
def acts_as(pair: nn.Module, layer: nn.Module, weight: Tensor) -> bool:
    """Whether `pair` computes what a linear or two-dimensional convolutional layer would with `weight`."""
    reference = copy.deepcopy(layer)
    reference.weight.copy_(weight)
    if isinstance(layer, nn.Linear):
        shape = (3, layer.in_features)
    else:
        span = ((side - 1) * step for side, step in zip(layer.kernel_size, layer.dilation, strict=True))
        shape = (2, layer.in_channels, *(2 * side + 7 for side in span))
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(layer.weight)
    try:
        expected, found = reference.eval()(x), pair.eval()(x)
    except Exception:  # a forward of the user's own may raise anything
        return False
    size = expected.abs().max().clamp(min=1e-6)
    return expected.shape == found.shape and bool((expected - found).abs().max() <= ROUNDING * size)


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


def note_sizes(net: nn.Module, others: Iterable[str] = ()) -> None:
    """Record every layer as it is now in `net.replaced`, for methods that change layers in place.

    Args:
        net: The network.
        others: Paths of changed layers of classes that are not among `CLASSES`.
    """
    recorded = getattr(net, "replaced", {})
    inside = tuple(f"{path}." for path, about in recorded.items() if about["kind"] == "Sequential")
    outer = {path: describe(layer) for path, layer in layers(net).items() if not path.startswith(inside)}
    again = {path: describe(net.get_submodule(path)) for path in recorded}
    odd = {path: describe(net.get_submodule(path)) for path in others if not path.startswith(inside)}
    net.replaced = {**again, **outer, **odd}


def restore(net: nn.Module, replaced: Layers) -> None:
    """Rebuild in `net` the layers that `replaced` describes; ValueError or AttributeError where they do not fit."""
    for path, description in replaced.items():
        put(net, path, make(description, net.get_submodule(path)))
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


def path_of(net: nn.Module, layer: nn.Module) -> str:
    """Where a layer is in a network. Raises StopIteration where it is not."""
    return next(path for path, module in net.named_modules() if module is layer)


def has_early_exits(net: nn.Module) -> bool:
    """Whether the network has early exits, so that not every example reaches every layer (it counts `entered`)."""
    return any(hasattr(module, "entered") for module in net.modules())


def put(net: nn.Module, path: str, layer: nn.Module) -> None:
    """Set the submodule at `path`."""
    parent, _, name = path.rpartition(".")
    setattr(net.get_submodule(parent), name, layer)
