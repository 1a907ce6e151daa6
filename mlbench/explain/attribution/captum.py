"""Any attribution class of captum, by its name."""

import inspect
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlbench.core.errors import UserError, nearest, need, require
from mlbench.explain.attribution.baselines import REFERENCES
from mlbench.explain.attribution.captum_adapter import captum_class, drawing, quietly
from mlbench.explain.attribution.relu_check import check_relus
from mlbench.explain.attribution.segments import slic
from mlbench.explain.base import Attribution, Workbench
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
    """Maps by the class `attribution` of captum.attr (Kokhlikyan et al. 2020), which is given plain settings.

    `construct` holds what its constructor takes beside the network: `layer` is the path of a module,
    `attribution_method` the name of another class, around which NoiseTunnel works. `attribute` holds the arguments of
    its attribute(): lists become tuples, `baselines` may be zero, mean, blur or train (some training pictures), and
    signs are kept where it would drop them. `segments` makes superpixels its features. Maps of a layer are added up
    over channels and enlarged.
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
        """The class must be captum's, take these settings, and need no others."""
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
        self.made(net)
        if "layer" in self.construct:
            check_all_reach(net)

    def rehearse(self, net: nn.Module, x: Tensor) -> None:
        """Captum itself is asked, and ReLUs looked at where the class changes them."""
        names = [self.attribution, str(self.construct.get("attribution_method"))]
        if any(part in name for part in CHANGES_RELUS for name in names):
            check_relus(net, x, self.attribution)
        self.train = x
        try:
            self.maps(net, x[:1], torch.zeros(1, dtype=torch.int64, device=x.device))
        except REFUSED as error:
            first = (str(error) or type(error).__name__).strip().splitlines()[0]
            raise UserError(f"captum's {self.attribution} does not work with these settings: {first}") from error

    def look(self, bench: Workbench) -> None:
        """What is black, and the technique's own draws."""
        self.black, self.generator = bench.black, bench.generator
        order = torch.randperm(len(bench.train), generator=bench.generator)[:TRAIN]
        self.train = bench.train.batch(order.to(bench.train.labels.device)).x

    def made(self, net: nn.Module) -> Any:
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
        attribution, found = self.made(net), []
        each = 1 if self.segments or self.attribution in ONE_BY_ONE else len(x)
        with drawing(self.generator, x.device):
            for a, b in zip(x.split(each), target.split(each), strict=True):
                found.append(over_pixels(quietly(attribution.attribute, a, **self.arguments(attribution, a, b)), a))
        return torch.cat(found)

    def arguments(self, attribution: Any, x: Tensor, target: Tensor) -> dict[str, object]:
        """What attribute() is given beside the pictures."""
        taken = inspect.signature(attribution.attribute).parameters
        inner = getattr(attribution, "attribution_method", None)
        if inner is not None:
            taken = {**taken, **inspect.signature(inner.attribute).parameters}
        given = {name: tuple(v) if isinstance(v, list) else v for name, v in self.attribute.items()}
        if isinstance(word := given.get("baselines"), str):
            given["baselines"] = self.train if word == "train" else REFERENCES[word](x, self.black)
        if self.segments is not None:
            given["feature_mask"] = slic(x, self.segments)[:, None].expand_as(x)
        fixed = {"target": target} if "target" in taken else {}
        return ({"abs": False} if "abs" in taken else {}) | given | fixed


def check_arguments(of: Any, setting: str, given: dict[str, Any], ours: set[str]) -> None:
    """Raise UserError for names that a callable of captum does not take, and for those it cannot do without."""
    parameters, ours = inspect.signature(of).parameters, OURS | ours
    named = {name: p for name, p in parameters.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    allowed = [name for name in named if name not in ours]
    open_to_all = len(named) < len(parameters)
    for name in given:
        if name in ours or (name not in allowed and not open_to_all):
            told = f"explain.{setting}.{name}: no such setting{nearest(name, allowed)}"
            raise UserError(f"{told}\nallowed here: {', '.join(allowed) or 'none'}")
    for name in allowed:
        if named[name].default is inspect.Parameter.empty and name not in given:
            raise UserError(f"explain.{setting}.{name} has no value; the class needs one")


def over_pixels(found: Tensor, x: Tensor) -> Tensor:
    """What captum gave for pictures x [B, C, H, W] as maps; a layer's [B, K, h, w] becomes [B, 1, H, W]."""
    if found.dim() != 4 or len(found) != len(x):
        raise ValueError(f"it gives {list(found.shape)}, no map of {list(x.shape)}")
    if found.shape[1] not in (1, x.shape[1]) or found.shape[2:] != x.shape[2:]:
        found = F.interpolate(found.sum(1, keepdim=True), x.shape[2:], mode="bilinear", align_corners=False)
    return found
