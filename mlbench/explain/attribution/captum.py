"""Attribution methods of the captum library, by the names of their classes."""

import inspect
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlbench.core.errors import UserError, first_line, nearest, need, require
from mlbench.explain.attribution.baselines import REFERENCES
from mlbench.explain.attribution.captum_adapter import captum_class, drawing, quietly
from mlbench.explain.attribution.relu_check import check_relus
from mlbench.explain.attribution.segments import slic
from mlbench.explain.base import Attribution, Context
from mlbench.explain.representation.activations import check_all_reach
from mlbench.models.surgery import submodule

OURS = {"self", "inputs", "target", "additional_forward_args", "return_convergence_delta", "show_progress"}
CHANGES_RELUS = ("Guided", "Deconvolution", "DeepLift", "LRP")  # in the names of classes that hook nn.ReLU
ONE_BY_ONE = ("Lime", "KernelShap")  # fit a model to each picture
TRAIN = 16  # training pictures, for the classes that take a distribution of baselines
WORDS = {*REFERENCES, "train"}
REFUSED = (TypeError, ValueError, AssertionError, IndexError, AttributeError, RuntimeError)  # captum's ways to say no


@dataclass
class Captum(Attribution):
    """Maps by any class of captum.attr (Kokhlikyan et al. 2020).

    Signs are kept where the class would drop them. Maps of a layer are summed over the channels and upsampled.

    Args:
        attribution: Name of the class.
        construct: Arguments of its constructor besides the network; `layer` is the path of a module,
            `attribution_method` the name of another class (for NoiseTunnel).
        attribute: Arguments of its attribute(); lists become tuples, and `baselines` may be a number, zero, mean, blur
            or train (some training pictures).
        segments: Approximate number of superpixels used as features; None for single pixels.
    """

    attribution: str
    construct: dict[str, Any]
    attribute: dict[str, Any]
    segments: int | None

    def __post_init__(self):
        super().__post_init__()
        require(self.segments is None or self.segments >= 2, "segments", self.segments, "2 or more, or null")
        self.black = torch.zeros(1, 1, 1, 1)  # until the data are known
        self.generator = torch.Generator().manual_seed(0)

    def check(self, net: nn.Module) -> None:
        """Raise UserError unless captum has the class, and it accepts these settings and needs no others."""
        need("captum.attr", "explain", "explain=captum")
        if self.segments is not None:
            need("skimage.segmentation", "explain", "explain.segments")
        cls = captum_class(self.attribution, "explain.attribution")
        network = {next(iter(inspect.signature(cls).parameters))} - {"attribution_method"}
        check_arguments(cls, "construct", self.construct, network)
        check_arguments(cls.attribute, "attribute", self.attribute, {"feature_mask"} if self.segments else set())
        word = self.attribute.get("baselines")
        allowed = "a number, zero, mean, blur or train"
        require(not isinstance(word, str) or word in WORDS, "attribute.baselines", word, allowed)
        self.instance(net)
        if "layer" in self.construct:
            check_all_reach(net)

    def rehearse(self, net: nn.Module, x: Tensor) -> None:
        """Try the class on one input, and check the ReLUs if it changes them."""
        names = [self.attribution, str(self.construct.get("attribution_method"))]
        if any(part in name for part in CHANGES_RELUS for name in names):
            check_relus(net, x, self.attribution)
        self.train = x
        try:
            self.maps(net, x[:1], torch.zeros(1, dtype=torch.int64, device=x.device))
        except REFUSED as error:
            first = first_line(error)
            raise UserError(f"captum's {self.attribution} does not work with these settings: {first}") from error

    def look(self, context: Context) -> None:
        """Read the value of a black pixel, some training pictures and the run's generator."""
        self.black, self.generator = context.black, context.generator
        order = torch.randperm(len(context.train), generator=context.generator)[:TRAIN]
        self.train = context.train.batch(order.to(context.train.labels.device)).x

    def instance(self, net: nn.Module) -> Any:
        """The attribution object for a network."""
        settings = dict(self.construct)
        if "layer" in settings:
            settings["layer"] = submodule(net, str(settings["layer"]), "explain.construct.layer")
        cls = captum_class(self.attribution, "explain.attribution")
        if "attribution_method" in settings:
            inner = captum_class(settings["attribution_method"], "explain.construct.attribution_method")
            return cls(**settings | {"attribution_method": inner(net)})
        return cls(net, **settings)

    def maps(self, net: nn.Module, x: Tensor, target: Tensor) -> Tensor:
        """[B, C, H, W], or [B, 1, H, W] of a layer."""
        attribution, parts = self.instance(net), []
        each = 1 if self.segments or self.attribution in ONE_BY_ONE else len(x)
        with drawing(self.generator, x.device):
            for a, b in zip(x.split(each), target.split(each), strict=True):
                parts.append(over_pixels(quietly(attribution.attribute, a, **self.arguments(attribution, a, b)), a))
        return torch.cat(parts)

    def arguments(self, attribution: Any, x: Tensor, target: Tensor) -> dict[str, object]:
        """The arguments of attribute() besides the pictures."""
        taken = inspect.signature(attribution.attribute).parameters
        inner = getattr(attribution, "attribution_method", None)
        if inner is not None:
            taken = {**taken, **inspect.signature(inner.attribute).parameters}
        settings = {name: tuple(v) if isinstance(v, list) else v for name, v in self.attribute.items()}
        if isinstance(word := settings.get("baselines"), str):
            settings["baselines"] = self.train if word == "train" else REFERENCES[word](x, self.black)
        if self.segments is not None:
            settings["feature_mask"] = slic(x, self.segments)[:, None].expand_as(x)
        fixed = {"target": target} if "target" in taken else {}
        return ({"abs": False} if "abs" in taken else {}) | settings | fixed


def check_arguments(of: Any, setting: str, settings: dict[str, Any], ours: set[str]) -> None:
    """Raise UserError for arguments that a callable of captum does not accept, or that it requires and lacks."""
    parameters, ours = inspect.signature(of).parameters, OURS | ours
    named = {name: p for name, p in parameters.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    allowed = [name for name in named if name not in ours]
    open_to_all = len(named) < len(parameters)
    for name in settings:
        if name in ours or (name not in allowed and not open_to_all):
            message = f"explain.{setting}.{name}: no such setting{nearest(name, allowed)}"
            raise UserError(f"{message}\nallowed here: {', '.join(allowed) or 'none'}")
    for name in allowed:
        if named[name].default is inspect.Parameter.empty and name not in settings:
            raise UserError(f"explain.{setting}.{name} has no value; the class needs one")


def over_pixels(attributions: Tensor, x: Tensor) -> Tensor:
    """What captum gave for pictures x [B, C, H, W] as maps; a layer's [B, K, h, w] becomes [B, 1, H, W]."""
    if attributions.dim() != 4 or len(attributions) != len(x):
        raise ValueError(f"it gives {list(attributions.shape)}, no map of {list(x.shape)}")
    if attributions.shape[1] not in (1, x.shape[1]) or attributions.shape[2:] != x.shape[2:]:
        attributions = F.interpolate(
            attributions.sum(1, keepdim=True), x.shape[2:], mode="bilinear", align_corners=False
        )
    return attributions
