"""Removal of a shortcut: located by attribution maps, painted over in the training images, unlearned."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlbench.core.errors import SettingError, UserError, require
from mlbench.data import patches
from mlbench.data.split import Pool, Split
from mlbench.explain.base import Attribution, Context, Method, strength
from mlbench.runs.results import Panel, Results, Row

AROUND = 2  # pixels around what is painted over, whose mean is the paint
AT_ONCE = 32  # pictures
FOUND_FROM = 0.5  # intersection over union of a window and the texture
SHOWN = 8  # examples in the figure
HEADLINES = {  # what tables show, and the good end
    "clean_accuracy_after": "high",
    "clean_accuracy_before": "",
    "clean_accuracy_random": "",
    "found_share": "high",
    "accuracy_after": "high",
    "accuracy_before": "",
}


@dataclass
class Mend(Method):
    """What attribution maps highlight in the training images is painted over, and the network is retrained.

    In every training picture the window with the strongest map of its label is painted over, and `margin` pixels on
    each side of it, with the mean of the pixels around; a network with the same start is trained on what is left.
    Further `rounds` do the same with the maps of the network of the round before. The control paints over as many
    random windows. Nothing is decided by where the answer was planted: `found_share` only counts how often it was met.
    Anders et al. (2022) find and remove such artefacts in the same order, by clusters of maps that a person looks at.
    """

    attribution: Attribution
    window: int | None
    margin: int
    rounds: int

    def __post_init__(self):
        require(self.window is None or self.window >= 1, "window", self.window, "1 or more pixels, or null")
        require(self.margin >= 0, "margin", self.margin, "0 or more pixels")
        require(self.rounds >= 1, "rounds", self.rounds, "1 or more")
        target, images = self.attribution.target, self.attribution.images
        require(target is None, "attribution.target", target, "null: explained is the label")
        require(images is None, "attribution.images", images, "null: explained are the training pictures")

    def check(self, net: nn.Module) -> None:
        """What the maps have to say."""
        try:
            self.attribution.check(net)
        except SettingError as error:
            raise UserError(f"explain.attribution.{error}") from error

    def rehearse(self, net: nn.Module, x: Tensor) -> None:
        """The window must leave something of a picture, and the maps must come about."""
        self.size(tuple(x.shape[2:]))
        self.attribution.rehearse(net, x)

    def explain(self, net: nn.Module, context: Context) -> Results:
        """Accuracies before and after, a table of the rounds, a figure of mended pictures."""
        window = self.size(context.input_shape[1:])
        self.attribution.look(context)
        results = Results("mended", HEADLINES, accuracies(net, context, "_before"))
        rows: list[dict[str, object]] = [{"round": 0, **accuracies(net, context)}]
        mended = random = context.train
        missed = None
        for number in range(1, self.rounds + 1):
            maps = torch.cat(list(self.maps(net, mended)))
            corners, before = strongest_corners(maps, window), mended
            mended = inpaint(mended, corners, window, self.margin)
            random = inpaint(
                random, random_corners(corners, maps.shape[1:], window, context.generator), window, self.margin
            )
            if number == 1:
                results.grids["mended"] = [
                    example_row(i, before, maps, mended, random, context) for i in examples(mended)
                ]
            net = context.fit(copy.deepcopy(context.initial), f"mended, round {number}", train=mended)
            rows.append({"round": number, **accuracies(net, context)})
            if context.planted is not None:
                truth = context.planted.train[context.train.rows]
                far = overlap(corners, truth, window, context.planted.size) < FOUND_FROM
                missed = far if missed is None else missed & far
                results.metrics["found_share"] = (~missed[truth[:, 0] >= 0]).double().mean().item()
                rows[-1]["found_share"] = results.metrics["found_share"]
        results.metrics |= accuracies(net, context, "_after")
        control = context.fit(copy.deepcopy(context.initial), "control: random windows", train=random)
        results.metrics |= accuracies(control, context, "_random")
        results.tables["rounds"] = rows
        return results

    def size(self, sides: tuple[int, int]) -> int:
        """The window's. Raises UserError where nothing of a picture would be left."""
        window = self.window or patches.side(sides)
        if window + 2 * self.margin >= min(sides):
            raise UserError(f"explain.window={window}: with its margins it must be below {min(sides)} pixels")
        return window

    def maps(self, net: nn.Module, split: Split) -> Iterator[Tensor]:
        """The strengths [n, H, W] of each pixel of the examples for their labels, some examples at a time."""
        for index in split.chunks(AT_ONCE):
            batch = split.batch(index)
            yield strength(self.attribution.maps(net, batch.x, batch.y).detach())


def accuracies(net: nn.Module, context: Context, when: str = "") -> dict[str, float]:
    """Accuracies on the test pictures, and on the same without the planted answer."""
    metrics = {f"accuracy{when}": context.accuracy(net, context.test)}
    if context.planted is not None:
        metrics[f"clean_accuracy{when}"] = context.accuracy(net, context.planted.clean)
    return metrics


def strongest_corners(maps: Tensor, window: int) -> Tensor:
    """The upper left corner [n, 2] of the window in which strengths [n, H, W] add up to the most."""
    sums = F.avg_pool2d(maps[:, None], window, stride=1).squeeze(1)
    best = sums.flatten(1).argmax(1)
    return torch.stack([best // sums.shape[2], best % sums.shape[2]], 1)


def random_corners(corners: Tensor, sides: tuple[int, int], window: int, generator: torch.Generator) -> Tensor:
    """A random corner for each of `corners` [n, 2]."""
    places = [torch.randint(0, side - window + 1, (len(corners),), generator=generator) for side in sides]
    return torch.stack(places, 1).to(corners.device)


def inpaint(split: Split, corners: Tensor, window: int, margin: int) -> Split:
    """The same examples, in their own pool, with windows and margins in the mean colour of the pixels around."""
    done, corner, size = [], corners - margin, window + 2 * margin
    for index in split.chunks(AT_ONCE):
        pictures = split.raw(index)
        inside = patches.inside(corner[index], size, pictures.shape[2:])
        ring = patches.inside(corner[index] - AROUND, size + 2 * AROUND, pictures.shape[2:]) & ~inside
        total = torch.einsum("nchw,nhw->nc", pictures.float(), ring.float())
        paint = (total / ring.sum((1, 2))[:, None]).round().to(torch.uint8)
        done.append(torch.where(inside[:, None], paint[:, :, None, None], pictures))
    return replace(split, pool=Pool(torch.cat(done)), rows=split.places, transform=None)


def overlap(corners: Tensor, others: Tensor, size: int, other: int) -> Tensor:
    """Intersection over union [n] of squares with these upper left corners [n, 2] and sides."""
    ends = torch.minimum(corners + size, others + other)
    both = (ends - torch.maximum(corners, others)).clamp(min=0).prod(1)
    return both / (size**2 + other**2 - both)


def examples(split: Split) -> range:
    """Those in the figure."""
    return range(min(SHOWN, len(split)))


def example_row(i: int, before: Split, maps: Tensor, mended: Split, random: Split, context: Context) -> Row:
    """An example's row of the figure."""
    index = torch.tensor([i], device=before.labels.device)
    picture, after, control = (split.raw(index)[0].cpu().numpy() for split in (before, mended, random))
    heat_map = maps[i].cpu().numpy()
    panels = [Panel("before", picture), Panel("map", map=heat_map), Panel("overlay", picture, heat_map)]
    panels += [Panel("mended", after), Panel("control", control)]
    return f"label: {context.classes[before.labels[i]]}", panels
