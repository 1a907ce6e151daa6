"""Squares in pictures: planted, covered or painted over."""

import torch
from torch import Tensor

SMALL = 16  # pixels a side


def side(sides: tuple[int, int]) -> int:
    """The side of a square that suits pictures of (H, W) pixels: 5, or 3 in small ones; 1 in a row of pixels."""
    return 1 if min(sides) == 1 else 3 if min(sides) < SMALL else 5


def inside(corners: Tensor, size: int, sides: tuple[int, int]) -> Tensor:
    """True inside squares whose upper left corners [n, 2] may lie outside: bool [n, H, W]."""
    spans = []
    for axis, length in enumerate(sides):
        place = torch.arange(length, device=corners.device)
        spans.append((place >= corners[:, axis, None]) & (place < corners[:, axis, None] + size))
    return spans[0][:, :, None] & spans[1][:, None, :]
