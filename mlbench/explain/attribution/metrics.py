"""Metrics of attribution maps, one value for each example; maps have shape [B, C, H, W]."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlbench.explain.base import Maps, logit, strength

STEPS = 20  # of the deletion and insertion curves
STRONGEST = 25  # pixels
PERTURBATIONS = 32  # for infidelity, an even number
NEIGHBOURS = 4  # for sensitivity
NOISE = 0.05  # of infidelity's perturbations, a share of each picture's range: at .2 no linear map predicts the logit
RADIUS = 0.02  # of sensitivity's neighbourhood, the same
BLUR = 5  # pixels to each side in pictures of up to BLUR_SIDE pixels a side; in larger ones as much in proportion
BLUR_SIDE = 40
AT_ONCE = 256  # pictures at once


@torch.no_grad()
def probability(net: nn.Module, x: Tensor, target: Tensor) -> Tensor:
    """The probability [B] of each input's class."""
    parts = zip(x.split(AT_ONCE), target.split(AT_ONCE), strict=True)
    return torch.cat([net(a).softmax(1).gather(1, b[:, None]).squeeze(1) for a, b in parts])


HEADLINES = {  # metric shown in tables -> whether high or low values are better
    "pointing": "high",
    "top25_share": "high",
    "deletion_auc": "low",
    "insertion_auc": "high",
    "sparsity": "",
    "randomisation_abs_rho": "",
}


def reach_of_blur(sides: tuple[int, int]) -> int:
    """How many pixels to each side are blurred together in a picture of these sides: BLUR, or a share of the shorter.

    A blur of a few pixels leaves everything in a large picture.
    """
    return max(BLUR, round(BLUR * min(sides) / BLUR_SIDE))


def blurred(x: Tensor, reach: int | None = None) -> Tensor:
    """Gaussian blur of x [B, C, H, W]: a window of `reach` pixels to each side, standard deviation `reach` / 3.

    Without `reach` it is `reach_of_blur`, in proportion to the picture.
    """
    reach = reach_of_blur((x.shape[2], x.shape[3])) if reach is None else reach
    window = torch.exp(-((torch.arange(2 * reach + 1.0) - reach) ** 2) / (2 * (reach / 3) ** 2)).to(x)
    window = (window / window.sum()).expand(x.shape[1], 1, 1, -1)
    padded = F.pad(x, (reach, reach, reach, reach), mode="replicate")
    rows = F.conv2d(padded, window, groups=x.shape[1])
    return F.conv2d(rows, window.transpose(2, 3), groups=x.shape[1])


def perturbation_curve(
    net: nn.Module, start: Tensor, end: Tensor, maps: Tensor, target: Tensor, signed: bool = False
) -> Tensor:
    """The class probability while the pixels of `start` are replaced by those of `end`, the strongest first.

    Deletion replaces the input by zeros, insertion a blurred input by the original (Petsiuk et al. 2018, section 3.1).

    Args:
        net: Maps inputs to logits [B, outputs].
        start: Inputs [B, C, H, W] at the first step.
        end: Inputs [B, C, H, W] at the last step.
        maps: Attributions [B, C, H, W], which give the order of the pixels.
        target: Classes [B].
        signed: Whether the pixels that speak most for the class come first, those that speak against it last; else
            they come by size, whatever the sign.

    Returns:
        Probabilities [B, STEPS + 1] at equal shares of replaced pixels from 0 to 1.
    """
    pixels = start.shape[2] * start.shape[3]
    order = (maps.sum(1) if signed else strength(maps)).flatten(1).argsort(dim=1, descending=True, stable=True)
    rank = torch.empty_like(order).scatter_(1, order, torch.arange(pixels, device=order.device).expand_as(order))
    rank = rank.view(len(start), 1, *start.shape[2:])
    probabilities = []
    for step in range(STEPS + 1):
        changed = torch.where(rank < round(step * pixels / STEPS), end, start)
        probabilities.append(probability(net, changed, target))
    return torch.stack(probabilities, 1)


def area(curve: Tensor) -> Tensor:
    """The area [B] under curves [B, steps] over 0 to 1, by the trapezoidal rule."""
    return torch.trapezoid(curve, dx=1 / (curve.shape[1] - 1), dim=1)


def pointing(maps: Tensor, truth: Tensor) -> Tensor:
    """Pointing game (Zhang et al. 2018): whether the strongest pixel lies inside the truth [B, H, W], bool [B]."""
    strongest = strength(maps).flatten(1).argmax(1)
    return truth.flatten(1).gather(1, strongest[:, None]).squeeze(1)


def top_share(maps: Tensor, truth: Tensor) -> Tensor:
    """The share [B] of the STRONGEST pixels inside the truth; of fewer pixels where the truth itself is smaller."""
    ranked = strength(maps).flatten(1).argsort(dim=1, descending=True, stable=True)
    inside = truth.flatten(1).gather(1, ranked)  # [B, pixels], the strongest first
    count = truth.flatten(1).sum(1).clamp(max=STRONGEST)
    among = torch.arange(inside.shape[1], device=inside.device) < count[:, None]
    return (inside & among).sum(1) / count


def sparsity(maps: Tensor) -> Tensor:
    """Gini index [B] of the strengths (Chalasani et al. 2020): 0 if all are equal, near 1 if one pixel has all.

    It is NaN for a map of zeros.
    """
    values = strength(maps).flatten(1).double().sort(1).values  # ascending
    count = values.shape[1]
    ranks = torch.arange(1, count + 1, device=values.device)
    total = values.sum(1)
    return 1 - 2 * ((values / total[:, None]) * ((count - ranks + 0.5) / count)).sum(1)


@torch.no_grad()
def completeness_error(net: nn.Module, x: Tensor, start: Tensor, maps: Tensor, target: Tensor) -> float:
    """Relative error of completeness: |sum of the map - (logit(x) - logit(start))| over |logit(x) - logit(start)|.

    Both are summed over the examples before they are divided; otherwise an example whose logit hardly changes would
    dominate the mean.

    Args:
        net: Maps inputs to logits [B, outputs].
        x: Inputs [B, C, H, W].
        start: Baselines [B, C, H, W].
        maps: Attributions [B, C, H, W].
        target: Classes [B].
    """
    parts = zip(x.split(AT_ONCE), start.split(AT_ONCE), target.split(AT_ONCE), strict=True)
    gains = torch.cat([logit(net, a, c) - logit(net, b, c) for a, b, c in parts]).double()
    missed = maps.flatten(1).double().sum(1) - gains
    return (missed.abs().sum() / gains.abs().sum().clamp(min=1e-300)).item()


@torch.no_grad()
def infidelity(net: nn.Module, x: Tensor, maps: Tensor, target: Tensor, generator: torch.Generator) -> Tensor:
    """Infidelity (Yeh et al. 2019, definition 2.1): how badly a map predicts the effect of noise on the logit.

    Deviations from the paper: maps are first multiplied by the best factor (proposition A.1), since most have no scale
    of their own; it is fitted to one half of the perturbations and the error measured on the other, each in turn, as a
    factor fitted to what it is measured on makes noise look informed. The error is divided by the mean square of the
    changes of the logit.

    Returns:
        Float [B]: 0 is perfect, about 1 no better than a map of zeros.
    """
    size = NOISE * (x.amax((1, 2, 3), keepdim=True) - x.amin((1, 2, 3), keepdim=True))
    before, predicted, changed = logit(net, x, target), [], []
    for _ in range(PERTURBATIONS):
        noise = size * torch.randn(x.shape, generator=generator).to(x.device)
        predicted.append((noise * maps).flatten(1).sum(1))
        changed.append(before - logit(net, x - noise, target))
    predicted, changed = torch.stack(predicted).double(), torch.stack(changed).double()  # [n, B]
    halves = list(zip(predicted.chunk(2), changed.chunk(2), strict=True))
    missed = torch.zeros_like(before, dtype=torch.float64)
    for (p, c), (own, true) in (halves, halves[::-1]):
        scale = (p * c).sum(0) / p.square().sum(0).clamp(min=1e-300)
        missed += (scale * own - true).square().sum(0)
    return missed / changed.square().sum(0).clamp(min=1e-300)


def sensitivity(
    net: nn.Module, x: Tensor, maps: Tensor, target: Tensor, of: Maps, generator: torch.Generator
) -> Tensor:
    """Maximum sensitivity (Yeh et al. 2019, definition 3.1): the largest relative change of a map near the input.

    The maximum is taken over NEIGHBOURS random inputs at most RADIUS of the input's range away.

    Returns:
        Float [B], NaN for a map of zeros.
    """
    radius = RADIUS * (x.amax((1, 2, 3), keepdim=True) - x.amin((1, 2, 3), keepdim=True))
    norms = []
    for _ in range(NEIGHBOURS):
        step = radius * (2 * torch.rand(x.shape, generator=generator) - 1).to(x.device)
        change = of(net, x + step, target) - maps
        norms.append(change.flatten(1).norm(dim=1))
    size = maps.flatten(1).norm(dim=1)
    return torch.where(size > 0, torch.stack(norms).amax(0) / size, math.nan)
