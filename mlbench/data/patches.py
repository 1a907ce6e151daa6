"""Square patches of pictures, which are planted, covered or painted over."""

import torch
from torch import Tensor

SMALL = 16  # pixels a side


def side(sides: tuple[int, int]) -> int:
    """Return the side of a patch for pictures of (H, W) pixels: 5, 3 for small pictures, 1 for a row of pixels."""
    return 1 if min(sides) == 1 else 3 if min(sides) < SMALL else 5


def inside(corners: Tensor, size: int, sides: tuple[int, int]) -> Tensor:
    """Return which pixels lie in a patch.

    Args:
        corners: Row and column of the upper left corner of each patch, [n, 2]; they may lie outside the picture.
        size: Pixels per side of a patch.
        sides: Height and width of the picture.

    Returns:
        bool [n, H, W].
    """
    spans = []
    for axis, length in enumerate(sides):
        place = torch.arange(length, device=corners.device)
        spans.append((place >= corners[:, axis, None]) & (place < corners[:, axis, None] + size))
    return spans[0][:, :, None] & spans[1][:, None, :]
