"""Gradient ascent on the input: pictures that excite a class, a filter or a neuron, and the settings of that search."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal, Self

import torch
from torch import Tensor, nn

from mlbench.core.errors import SettingError, UserError, require
from mlbench.data.split import Batch
from mlbench.explain.attribution.metrics import blurred
from mlbench.explain.base import Context, Method
from mlbench.explain.feature_visualisation import gan_prior
from mlbench.explain.feature_visualisation.image_parametrisation import PARAMETRISATIONS, SAMPLE, Frame, Units, moved
from mlbench.explain.feature_visualisation.naturalness import total_variation
from mlbench.explain.representation.activations import check_all_reach
from mlbench.models.surgery import last_linear, submodule
from mlbench.training.learner import Learner
from mlbench.training.module_hooks import hooked
from mlbench.training.theta import Theta

OVER_MAP: dict[str, Callable[[Tensor], Tensor]] = {  # [n, units, H, W] to [n, units]
    "mean": lambda maps: maps.mean((2, 3)),
    "centre": lambda maps: maps[:, :, maps.shape[2] // 2, maps.shape[3] // 2],
}


@dataclass
class Synthesis(Method):
    """Base class of methods that synthesise images by gradient ascent.

    A unit is a class (`layer: null`, its logit), or an output of the layer with that path (`layer: "4"`): a filter, by
    its map's mean, or with `place: centre` the neuron in the middle of its map. `unit` is one of them; null takes the
    first `limit`. Sought is the picture with the highest excitation, in standard deviations over training pictures so
    that weights suit any layer, less, for each pixel, `l2` times the square of what it differs from the data's median
    pixel and `total_variation` times what it differs from its neighbours. The network sees it shifted, magnified and
    turned at random. `blur` is of the parametrisation: the picture is what is trained under a Gaussian window.

    With `prior: gan` the search is for the code z of a small generative adversarial network instead (Nguyen et al.
    2016), plus `latent_prior` times the log-density of |z|, as z is standard normal. (That of z itself would draw the
    search to the origin, near which no code that the generator was trained on lies.) `l2`, `total_variation` and `blur`
    have no part in that.
    """

    layer: str | None
    unit: int | None
    limit: int
    place: Literal["mean", "centre"]
    parametrisation: Literal["pixels", "fourier"]
    prior: Literal["none", "gan"]
    steps: int
    lr: float
    l2: float
    total_variation: float
    jitter: int
    scale: float
    rotation: float
    blur: int
    latent_prior: float
    gan_steps: int
    gan_latent: int
    gan_width: int

    def __post_init__(self):
        require(self.unit is None or self.unit >= 0, "unit", self.unit, "a number from 0, or null")
        for name in ("limit", "steps", "gan_steps", "gan_latent", "gan_width"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "1 or more")
        require(0 < self.lr < math.inf, "lr", self.lr, "above 0")
        for name in ("l2", "total_variation", "jitter", "blur", "latent_prior"):
            require(0 <= getattr(self, name) < math.inf, name, getattr(self, name), "0 or more")
        require(0 <= self.scale < 1, "scale", self.scale, "0 to below 1, a share of the size")
        require(0 <= self.rotation <= 180, "rotation", self.rotation, "0 to 180 degrees")

    def path(self, net: nn.Module) -> str | None:  # noqa: ARG002
        """The layer to look into, null for the logits."""
        return self.layer

    def check(self, net: nn.Module) -> None:
        """Raise UserError or SettingError unless the layer exists and, where its width is known, has the unit."""
        path = self.path(net)
        if path is not None:
            check_all_reach(net)
        count = width(last_linear(net) if path is None else submodule(net, path, "explain.layer"))
        if self.unit is not None and count is not None and self.unit >= count:
            raise SettingError("unit", self.unit, f"0 to {count - 1}")

    def rehearse(self, net: nn.Module, x: Tensor) -> None:
        """The layer must have an output of units or maps, and the unit be there."""
        with torch.no_grad(), units_of(net, self.path(net), self.place) as units:
            self.indices(units(x).shape[1])

    def raw(self) -> Self:
        """The same search for pixels, without anything that keeps pictures natural."""
        free = {"l2": 0.0, "total_variation": 0.0, "jitter": 0, "scale": 0.0, "rotation": 0.0, "blur": 0}
        return replace(self, parametrisation="pixels", prior="none", **free)

    def description(self) -> str:
        """The regularisers in words."""
        if self.prior == "gan":
            return "codes of a GAN with a prior"
        parts = ["L2"] * bool(self.l2) + ["TV"] * bool(self.total_variation) + ["jitter"] * bool(self.jitter)
        parts += ["scale"] * bool(self.scale) + ["rotation"] * bool(self.rotation) + ["blur"] * bool(self.blur)
        return f"{self.parametrisation} with {', '.join(parts) or 'nothing more'}"

    def indices(self, units: int) -> list[int]:
        """The units to excite, of so many. Raises UserError for one that is not there."""
        if self.unit is not None and self.unit >= units:
            raise UserError(f"explain.unit={self.unit}: the layer has units 0 to {units - 1}")
        return [self.unit] if self.unit is not None else list(range(min(self.limit, units)))

    def synthesise(self, context: Context, units: Units, indices: Tensor, title: str) -> Tensor:
        """A normalised picture [n, C, H, W] for each of the units `indices` [n], all in one batch."""
        frame = Frame.of(context)
        if self.prior == "gan":
            generator = gan_prior.generator(context, self.gan_steps, self.gan_latent, self.gan_width)
            canvas = gan_prior.latent(generator, frame, units, indices, context.generator)
        else:
            canvas = PARAMETRISATIONS[self.parametrisation](frame, len(indices), context.generator)
            if self.blur:
                sharp = canvas.render
                canvas.render = lambda value: blurred(sharp(value), self.blur)
        steps = context.train.take(torch.zeros(self.steps, dtype=torch.int64, device=indices.device))  # one a step
        ascent = Ascent(self, frame, units, indices, spread(context, units)[indices])
        settings = {"epochs": 1, "batch_size": 1, "lr": self.lr, "weight_decay": 0.0, "patience": 0}
        context.fit(canvas, title, ascent, steps, optimizer="adam", schedule="linear", augment="none", **settings)
        return canvas().detach()


@dataclass
class Ascent(Learner):
    """Trains a canvas; the examples that `fit` hands out only count the steps. Random numbers are torch's global."""

    lr_setting = "explain.lr"

    settings: Synthesis
    frame: Frame
    units: Units
    indices: Tensor  # [n]
    spread: Tensor  # [n] standard deviation of each wanted unit over real pictures

    def loss(self, net: nn.Module, batch: Batch) -> Tensor:  # noqa: ARG002
        """Minus the excitation, plus what speaks against the pictures; the pictures do not disturb one another."""
        pictures = net()
        excited = self.units(self.shaken(pictures)).float().gather(1, self.indices[:, None]).squeeze(1) / self.spread
        return (self.penalty(net, pictures) - excited).sum()

    def penalty(self, net: nn.Module, pictures: Tensor) -> Tensor:
        """[n]."""
        if self.settings.prior == "gan":
            return self.settings.latent_prior * shell(net.value)
        energy, variation = (pictures - self.frame.background).square(), total_variation(self.frame.unit(pictures))
        weighed = self.settings.l2 * energy.mean((1, 2, 3)) + self.settings.total_variation * variation
        return pictures.shape[2] * pictures.shape[3] * weighed

    def shaken(self, x: Tensor) -> Tensor:
        """Pictures as the network sees them in one step, each moved in its own way."""
        s = self.settings
        if not (s.jitter or s.scale or s.rotation):
            return x
        draws = 2 * torch.rand(4, len(x)).to(x.device) - 1
        shift = (s.jitter * draws[:2].T).round()
        return moved(x, shift, 1 + s.scale * draws[2], math.radians(s.rotation) * draws[3])

    def after_step(self, net: nn.Module, theta: Theta, step_size: Callable[[], float | Tensor]) -> None:  # noqa: ARG002
        """Pixels stay between black and white."""
        net.keep_within()


def shell(codes: Tensor) -> Tensor:
    """Minus the log-density [n] of the lengths of codes [n, d] that are standard normal, up to a constant.

    It is least at sqrt(d - 1): r^2 / 2 - (d - 1) log r.
    """
    length = codes.norm(dim=1).clamp(min=1e-6)
    return length.square() / 2 - (codes.shape[1] - 1) * length.log()


@contextmanager
def units_of(net: nn.Module, layer: str | None, place: str) -> Iterator[Units]:
    """What tells how excited the units are; the hook that it needs is gone afterwards."""
    if layer is None:
        yield net
        return
    latest: list[Tensor] = []
    keep = lambda module, inputs, output: latest.append(output.clone())  # noqa: ARG005, E731 - a later ReLU may overwrite

    def read(x: Tensor) -> Tensor:
        latest.clear()
        net(x)
        if not latest:
            raise UserError(f"explain.layer={layer}: it is not reached by all examples; take another layer")
        if latest[-1].dim() not in (2, 4):
            raise UserError(f"explain.layer={layer}: its output {list(latest[-1].shape)} is neither units nor maps")
        return OVER_MAP[place](latest[-1]) if latest[-1].dim() == 4 else latest[-1]

    with hooked([net.get_submodule(layer).register_forward_hook(keep)]):
        yield read


@torch.no_grad()
def spread(context: Context, units: Units) -> Tensor:
    """The standard deviation [units] of each unit over training pictures; 1 where it never changes."""
    order = torch.randperm(len(context.train), generator=torch.Generator().manual_seed(0))[:SAMPLE]
    deviations = units(context.train.batch(order.to(context.train.labels.device)).x).float().std(0)
    return torch.where(deviations > 0, deviations, 1.0)


def width(layer: nn.Module | None) -> int | None:
    """How many units a layer has, where it says so."""
    counts = (getattr(layer, name, None) for name in ("out_channels", "out_features", "num_features"))
    return next((count for count in counts if count is not None), None)
