"""Occlusion: the effect of covering parts of the input."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mlbench.core.errors import require
from mlbench.data.modality import EVERY
from mlbench.data.patches import side
from mlbench.data.stream import Task
from mlbench.explain.attribution.inference_copy import folded
from mlbench.explain.attribution.segments import slic
from mlbench.explain.base import LARGE, Attribution, forward_at_once

AT_ONCE = {"cpu": 32, "cuda": 512}  # covered pictures: what fits a CPU's cache, what fills a GPU
NARROWEST = 3  # pixels a side that `patch: null` can mean


@dataclass
class Occlusion(Attribution):
    """How far the logit falls when a part of the input is covered (Zeiler & Fergus 2014, section 4.2).

    Covered values are 0 after normalisation, which is the mean of the training data unless data.normalise=unit. A
    pixel's value is the mean over all parts that contain it. Pieces of texts and features of tables are covered one by
    one.

    Args:
        patch: Side of the square in pixels; None for 5, 3 in small pictures, a seventh of the side above LARGE pixels.
        stride: Pixels from one square to the next; all of the square where `patch` is a seventh of the picture.
        segments: Approximate number of SLIC superpixels that are covered instead of squares; None for squares.
    """

    modalities = EVERY

    patch: int | None
    stride: int
    segments: int | None

    def __post_init__(self):
        super().__post_init__()
        require(self.patch is None or self.patch >= 1, "patch", self.patch, "1 or more pixels, or null")
        largest = self.patch or NARROWEST
        require(1 <= self.stride <= largest, "stride", self.stride, f"1 to {largest}, so that no pixel is left out")
        require(self.segments is None or self.segments >= 2, "segments", self.segments, "2 or more, or null")

    def check_data(self, task: Task, classes: list[str]) -> None:
        """Features of tables have no neighbours, so there are no larger parts to cover."""
        super().check_data(task, classes)
        if not task.modality.ordered:
            for name in ("patch", "segments"):
                alone = f"null: {task.modality.unit} of {task.modality.name} are covered one by one"
                require(getattr(self, name) is None, name, getattr(self, name), alone)

    def maps(self, net: nn.Module, x: Tensor, target: Tensor) -> Tensor:
        """[B, 1, H, W]."""
        return self.class_maps(net, x, target[:, None])[:, 0]

    def class_maps(self, net: nn.Module, x: Tensor, targets: Tensor) -> Tensor:
        """[B, K, 1, H, W]; the same covered inputs serve all classes."""
        if self.segments is None:
            parts = squares(*x.shape[2:], *self.square((x.shape[2], x.shape[3]))).to(x.device)
            parts = parts.expand(len(x), *parts.shape)
        else:
            labels = slic(x, self.segments)  # [B, H, W]
            numbers = torch.arange(int(labels.max()) + 1, device=x.device)
            parts = labels[:, None] == numbers[:, None, None]
        return self.drops(net, x, targets, parts)

    def square(self, sides: tuple[int, int]) -> tuple[int, int]:
        """The side of the square, and the pixels to the next one, in a picture of these sides."""
        if self.patch is None and min(sides) > LARGE:
            patch = round(min(sides) / 7)
            return patch, patch
        patch = self.patch or side(sides)
        return patch, min(self.stride, patch)

    @torch.no_grad()
    def drops(self, net: nn.Module, x: Tensor, targets: Tensor, parts: Tensor) -> Tensor:
        """Maps [B, K, 1, H, W] of classes [B, K] for inputs whose parts are bool [B, P, H, W]."""
        quick = folded(net, x)
        before, differences = quick(x).gather(1, targets), []
        pairs = torch.cartesian_prod(*(torch.arange(count, device=x.device) for count in parts.shape[:2]))
        most = forward_at_once(AT_ONCE.get(x.device.type, AT_ONCE["cpu"]), x)
        for a, b in (chunk.unbind(1) for chunk in pairs.split(most)):
            covered = x[a].masked_fill(parts[a, b][:, None], 0.0)
            differences.append(before[a] - quick(covered).gather(1, targets[a]))
        drop = torch.cat(differences).view(*parts.shape[:2], -1)  # [B, P, K]
        weighed = torch.einsum("bpk,bphw->bkhw", drop, parts.to(drop.dtype))
        return (weighed / parts.sum(1, keepdim=True).clamp(min=1))[:, :, None]


def squares(height: int, width: int, patch: int, stride: int) -> Tensor:
    """Masks of all positions of the square, bool [P, H, W]; the last in a row or column may cross the edge."""
    rows, columns = (torch.arange(0, max(1, size - patch + stride), stride) for size in (height, width))
    y, x = torch.arange(height), torch.arange(width)
    down = (y >= rows[:, None]) & (y < rows[:, None] + patch)  # [R, H]
    across = (x >= columns[:, None]) & (x < columns[:, None] + patch)
    return (down[:, None, :, None] & across[None, :, None, :]).flatten(0, 1)
