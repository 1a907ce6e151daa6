"""RISE: which pixels are visible where the network is sure of its answer."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlbench.core.errors import require
from mlbench.explain.attribution.inference_copy import folded
from mlbench.explain.base import Attribution, Context, forward_at_once

AT_ONCE = 32  # covered pictures


@dataclass
class Rise(Attribution):
    """Randomised input sampling (Petsiuk et al. 2018, section 3), without gradients.

    The picture is seen through many random masks, coarse grids that are enlarged and shifted. A pixel's value is the
    covariance, over the masks, of the class's probability and of how much of the pixel is seen, divided by the variance
    of the latter. Deviation from eq. 6, which takes the mean of probability times mask: that is nearly the same for all
    pixels, since each is seen half of the time. Hidden values are 0 after normalisation.

    Args:
        masks: How many.
        cells: Of the grid, a side.
        seen: The probability that a cell is seen.
    """

    shortest = {"masks": 2}

    masks: int
    cells: int
    seen: float

    def __post_init__(self):
        super().__post_init__()
        require(self.masks >= 2, "masks", self.masks, "2 or more")
        require(self.cells >= 2, "cells", self.cells, "2 or more")
        require(0 < self.seen < 1, "seen", self.seen, "above 0 and below 1")

    def look(self, context: Context) -> None:
        """Masks are drawn from the run's generator."""
        self.generator = context.generator

    def maps(self, net: nn.Module, x: Tensor, target: Tensor) -> Tensor:
        """[B, 1, H, W]."""
        return self.class_maps(net, x, target[:, None])[:, 0]

    @torch.no_grad()
    def class_maps(self, net: nn.Module, x: Tensor, targets: Tensor) -> Tensor:
        """[B, K, 1, H, W]; the same covered pictures serve all classes."""
        quick, (height, width) = folded(net, x), x.shape[2:]
        size = (len(x), targets.shape[1], height, width)
        mask, square = torch.zeros(2, height, width, device=x.device)  # sums over the masks
        both, share = torch.zeros(size, device=x.device), torch.zeros(*size[:2], 1, 1, device=x.device)
        most = forward_at_once(AT_ONCE, x)
        for start in range(0, self.masks, most):
            masks = self.draw(min(most, self.masks - start), height, width).to(x)  # [k, 1, H, W]
            mask, square = mask + masks.sum((0, 1)), square + masks.square().sum((0, 1))
            for number, classes in enumerate(targets):
                shares = quick(x[number] * masks).softmax(1)[:, classes]  # [k, K]
                both[number] += torch.einsum("kc,khw->chw", shares, masks[:, 0])
                share[number] += shares.sum(0)[:, None, None]
        mask, square, share, both = (total / self.masks for total in (mask, square, share, both))
        variance = (square - mask.square()).clamp(min=1e-8)
        return ((both - mask * share) / variance)[:, :, None]

    def draw(self, count: int, height: int, width: int) -> Tensor:
        """Masks [count, 1, H, W] from 0 to 1: a random grid, enlarged by a cell more and cut at a random place."""
        grid = (torch.rand(count, 1, self.cells, self.cells, generator=self.generator) < self.seen).float()
        down, across = -(-height // self.cells), -(-width // self.cells)  # pixels of a cell
        size = ((self.cells + 1) * down, (self.cells + 1) * across)
        large = F.interpolate(grid, size, mode="bilinear", align_corners=False)
        places = torch.rand(count, 2, generator=self.generator) * torch.tensor([down, across])
        corners = places.long().tolist()
        return torch.stack([
            mask[:, top : top + height, left : left + width] for mask, (top, left) in zip(large, corners, strict=True)
        ])  # fmt: skip
