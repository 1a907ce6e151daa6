"""Gradient ascent on the input: pictures that excite a class, a filter or a neuron, and the settings of that search."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Self

import torch
from torch import Tensor, nn

from mlbench.core.errors import SettingError, UserError, nearest, require
from mlbench.data.split import Batch
from mlbench.data.stream import Task
from mlbench.explain.attribution.metrics import blurred
from mlbench.explain.base import Context, Method, is_large
from mlbench.explain.feature_visualisation import gan_prior
from mlbench.explain.feature_visualisation.image_parametrisation import PARAMETRISATIONS, Frame, moved
from mlbench.explain.feature_visualisation.naturalness import total_variation
from mlbench.explain.feature_visualisation.units import Units, excitations, spread, units_of, width
from mlbench.explain.representation.activations import check_all_reach
from mlbench.models.surgery import last_linear, submodule
from mlbench.training.learner import Learner
from mlbench.training.theta import Theta

# what null is, for small and for large pictures (explain/base.py); the latter's jitter is a 14th of the side
FOR_SMALL = {"parametrisation": "pixels", "steps": 256, "l2": 0.005, "total_variation": 0.02, "jitter": 2}
FOR_SMALL |= {"limit": 10, "copies": 2}
FOR_LARGE = {"parametrisation": "fourier", "steps": 128, "l2": 0.0001, "total_variation": 0.0006}
FOR_LARGE |= {"limit": 4, "copies": 1}


@dataclass
class Synthesis(Method):
    """Base class of methods that synthesise images by gradient ascent.

    A unit is a class (`layer: null`, its logit), or an output of the layer with that path (`layer: "4"`): a filter, by
    its map's mean, or with `place: centre` the neuron in the middle of its map. `unit` is one of them, a class by its
    number or name; null takes the first `limit`, or those that photographs without labels excite most, one by each.
    Sought is the picture with the highest excitation, in standard deviations over training pictures so that weights
    suit any layer, less, for each pixel, `l2` times the square of what it differs from the data's median pixel and
    `total_variation` times what it differs from its neighbours. The network sees it shifted, magnified and turned at
    random. `blur` is of the parametrisation: the picture is what is trained under a Gaussian window.

    With `prior: gan` the search is for the code z of a small generative adversarial network instead (Nguyen et al.
    2016), plus `latent_prior` times the log-density of |z|, as z is standard normal. (That of z itself would draw the
    search to the origin, near which no code that the generator was trained on lies.) `l2`, `total_variation` and `blur`
    have no part in that.

    Several settings are null for values that suit the size of the pictures (FOR_SMALL, FOR_LARGE). Large ones are made
    of waves, move more and have lower weights, as there are more pixels (settings like those of Olah et al. 2017).
    """

    layer: str | None
    unit: int | str | None
    limit: int | None
    place: Literal["mean", "centre"]
    parametrisation: Literal["pixels", "fourier"] | None
    prior: Literal["none", "gan"]
    steps: int | None
    lr: float
    l2: float | None
    total_variation: float | None
    jitter: int | None
    scale: float
    rotation: float
    blur: int
    latent_prior: float
    gan_steps: int
    gan_latent: int
    gan_width: int

    def __post_init__(self):
        named = self.unit is None or isinstance(self.unit, str)
        require(named or self.unit >= 0, "unit", self.unit, "a number from 0, the name of a class, or null")
        for name in ("limit", "steps", "gan_steps", "gan_latent", "gan_width"):
            require((value := getattr(self, name)) is None or value >= 1, name, value, "1 or more")
        require(0 < self.lr < math.inf, "lr", self.lr, "above 0")
        for name in ("l2", "total_variation", "jitter", "blur", "latent_prior"):
            require((value := getattr(self, name)) is None or 0 <= value < math.inf, name, value, "0 or more")
        require(0 <= self.scale < 1, "scale", self.scale, "0 to below 1, a share of the size")
        require(0 <= self.rotation <= 180, "rotation", self.rotation, "0 to 180 degrees")

    def at_size(self, shape: tuple[int, int, int]) -> Self:
        """The same search, what is null replaced by what suits pictures [C, H, W]."""
        defaults = FOR_LARGE | {"jitter": round(min(shape[1:]) / 14)} if is_large(shape) else FOR_SMALL
        return replace(self, **{name: value for name, value in defaults.items() if getattr(self, name, 0) is None})

    def check_data(self, task: Task, classes: list[str]) -> None:
        """A class that is given by its name must exist."""
        super().check_data(task, classes)
        self.number(classes)

    def number(self, classes: list[str]) -> int | None:
        """The number of the unit. Raises SettingError for a name, in capitals or not, that is not of one class."""
        if not isinstance(self.unit, str):
            return self.unit
        require(self.of_classes, "unit", self.unit, "a number: only classes have names, not the units of a layer")
        if self.unit in classes:
            return classes.index(self.unit)
        found = [number for number, name in enumerate(classes) if name.lower() == self.unit.lower()]
        allowed = f"a number: {found} have this name" if found else f"the name of a class{nearest(self.unit, classes)}"
        require(len(found) == 1, "unit", self.unit, allowed)
        return found[0]

    @property
    def of_classes(self) -> bool:
        """Whether the units are classes."""
        return self.layer is None

    def path(self, net: nn.Module) -> str | None:  # noqa: ARG002
        """The layer to look into, null for the logits."""
        return self.layer

    def check(self, net: nn.Module) -> None:
        """Raise UserError or SettingError unless the layer exists and, where its width is known, has the unit."""
        path = self.path(net)
        if path is not None:
            check_all_reach(net)
        count = width(last_linear(net) if path is None else submodule(net, path, "explain.layer"))
        if isinstance(self.unit, int) and count is not None and self.unit >= count:
            raise SettingError("unit", self.unit, f"0 to {count - 1}")

    def rehearse(self, net: nn.Module, x: Tensor) -> None:
        """The layer must have an output of units or maps, and the unit be there."""
        with torch.no_grad(), units_of(net, self.path(net), self.place) as units:
            self.check_unit(units(x).shape[1])

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

    def check_unit(self, units: int) -> None:
        """Raise UserError where `unit` is not one of so many."""
        if isinstance(self.unit, int) and self.unit >= units:
            raise UserError(f"explain.unit={self.unit}: the layer has units 0 to {units - 1}")

    def wanted(self, context: Context, units: Units, count: int) -> Tensor:
        """The numbers [n] of the units to excite, of `count`. Raises UserError for one that is not there."""
        self.check_unit(count)
        number = self.number(context.classes)
        if number is None and not context.task.labelled:
            chosen = dict.fromkeys(excitations(units, context.test).argmax(1).tolist())  # each once, in their order
        else:
            chosen = range(count) if number is None else [number]
        return torch.tensor(list(chosen)[: self.limit], device=context.train.labels.device)

    def synthesise(self, context: Context, units: Units, indices: Tensor, title: str) -> Tensor:
        """A normalised picture [n, C, H, W] for each of the units `indices` [n], all in one batch."""
        search, frame = self.at_size(context.input_shape), Frame.of(context)
        if self.prior == "gan":
            generator = gan_prior.generator(context, self.gan_steps, self.gan_latent, self.gan_width)
            canvas = gan_prior.latent(generator, frame, units, indices, context.generator)
        else:
            canvas = PARAMETRISATIONS[search.parametrisation](frame, len(indices), context.generator)
            if self.blur:
                sharp = canvas.render
                canvas.render = lambda value: blurred(sharp(value), self.blur)
        steps = context.train.take(torch.zeros(search.steps, dtype=torch.int64, device=indices.device))  # one a step
        ascent = Ascent(search, frame, units, indices, spread(context, units)[indices])
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
