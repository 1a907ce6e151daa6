"""Symmetric relevance gain: what the regions that a map ranks first do for the class, seen and hidden.

The area under insertion less the area under deletion, both with the same ranking and the same ground, so that a random
ranking has 0 on average, whatever the picture. Regions are superpixels, and what is hidden is painted over from what is
seen around it: a blurred or grey square is itself an object to the network.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlbench.core.statistics import spread
from mlbench.explain.attribution import metrics
from mlbench.explain.attribution.inference_copy import folded
from mlbench.explain.attribution.segments import slic
from mlbench.explain.base import LARGE, forward_at_once, strength

REGIONS = 100  # about so many of a picture
STEPS = 11  # from all regions to none; odd, so that a ranking read backwards has exactly the opposite gain
AT_ONCE = 32  # pictures through the network
WIDTH = 0.2  # of the blob in the centre, of the shorter side


def is_measured(x: Tensor) -> bool:
    """Whether pictures [B, C, H, W] are large enough to have such regions."""
    return min(x.shape[2:]) > LARGE


def centre(x: Tensor) -> Tensor:
    """A blob in the middle, [B, 1, H, W]: photographs show their thing there, which makes it the hardest control."""
    height, width = x.shape[2:]
    down, across = (torch.linspace(1 - side, side - 1, side, device=x.device) / 2 for side in (height, width))
    squares = (down[:, None] ** 2 + across**2) / (WIDTH * min(height, width)) ** 2
    return torch.exp(-squares / 2).expand(len(x), 1, height, width)


def relevance_gains(net: nn.Module, x: Tensor, target: Tensor, maps: Tensor, signed: bool) -> Tensor:
    """The gain of each picture, [B], from -1 to 1, of the probability of the class.

    Args:
        net: Maps inputs to logits [B, outputs].
        x: Pictures [B, C, H, W].
        target: The class of each, [B].
        maps: [B, C or 1, H, W].
        signed: Whether regions are ranked by their mean; else by the mean size.
    """
    values = maps.sum(1) if signed else strength(maps)  # [B, H, W]
    gains, quick = [], folded(net, x[:1])
    for picture, label, value, regions in zip(x, target, values, slic(x, REGIONS), strict=True):
        count = int(regions.max()) + 1
        sums = torch.zeros(2, count, device=x.device, dtype=torch.float64)
        sums.index_add_(1, regions.flatten(), torch.stack([value.double(), torch.ones_like(value).double()]).flatten(1))
        means = sums[0] / sums[1].clamp(min=1)
        rank = torch.empty(count, dtype=torch.int64, device=x.device)
        rank[means.argsort(descending=True, stable=True)] = torch.arange(count, device=x.device)
        low = torch.arange(STEPS // 2 + 1, device=x.device) * count // STEPS
        shares = torch.cat([low, count - low.flip(0)])  # regions at each step
        first = rank[regions] < shares[:, None, None]  # [STEPS + 1, H, W], the regions that are ranked first
        seen = torch.cat([first, ~first])[:, None]
        pictures = painted_over(picture.expand(len(seen), *picture.shape), seen)
        with torch.no_grad():
            parts = [quick(part).softmax(1)[:, label] for part in pictures.split(forward_at_once(AT_ONCE, x[:1]))]
        inserted, deleted = torch.cat(parts).view(2, STEPS + 1)
        insertion, deletion = metrics.area(torch.stack([inserted, deleted]))
        gains.append(insertion - deletion)
    return torch.stack(gains)


def painted_over(x: Tensor, seen: Tensor, ground: Tensor | None = None) -> Tensor:
    """Pictures whose hidden pixels are painted from the means of seen ones around them, the nearer the finer.

    By pull and push over halved sizes (Gortler et al. 1996, section 3.4).

    Args:
        x: Pictures [B, C, H, W].
        seen: Which pixels are, bool [B, 1, H, W].
        ground: What stands where no pixel is seen, [B, C, 1, 1]; None for the mean of the picture.
    """
    ground = x.mean((2, 3), keepdim=True) if ground is None else ground
    if max(x.shape[2:]) == 1:
        return torch.where(seen, x, ground)
    weight = seen.to(x.dtype)
    below, there = (F.avg_pool2d(each, 2, ceil_mode=True) for each in (x * weight, weight))
    smaller = painted_over(below / there.clamp(min=1e-12), there > 0, ground)
    return torch.where(seen, x, F.interpolate(smaller, x.shape[2:], mode="bilinear", align_corners=False))


def differences(gains: dict[str, Tensor], name: str) -> list[dict[str, object]]:
    """Of each control the mean of the method's gain less its own over the pictures, and half the 95 % interval."""
    rows: list[dict[str, object]] = []
    for control in (title for title in gains if title != name):
        found = spread((gains[name] - gains[control]).tolist())
        rows.append(
            {"control": control, "difference": found.mean, "half_interval": found.half, "pictures": found.count}
        )
    return rows
