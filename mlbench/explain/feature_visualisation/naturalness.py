"""How natural made pictures are, measured and not left to a classifier, which finds noise as convincing as pictures.

One measure alone misleads: an almost black picture is 3.5 from the thinnest digits of MNIST, nearer than real test
pictures are to the training pictures on average; but it has next to no variation.
"""

import torch
from torch import Tensor

from mlbench.data.split import Split
from mlbench.explain.base import at_once

AT_ONCE = 4096  # real pictures, fewer where they are large


def naturalness(pictures: Tensor, real: Split) -> tuple[dict[str, Tensor], Tensor]:
    """The two measures [n] of pictures uint8 [n, C, H, W], as they are shown, and which of `real` are nearest [n]."""
    unit = pictures.float() / 255
    distance, which = nearest(unit, real)
    return {"total_variation": total_variation(unit), "nearest_distance": distance}, which


def total_variation(pictures: Tensor) -> Tensor:
    """The mean difference [n] between neighbouring pixels of pictures [n, C, H, W] with values 0..1.

    Neighbours are those below and those to the right, each pair counted once; 0 is a picture of one colour, noise of
    black and white pixels has 1/2.
    """
    down = (pictures[:, :, 1:] - pictures[:, :, :-1]).abs().flatten(1)
    across = (pictures[:, :, :, 1:] - pictures[:, :, :, :-1]).abs().flatten(1)
    return (down.sum(1) + across.sum(1)) / (down.shape[1] + across.shape[1])


def nearest(pictures: Tensor, real: Split) -> tuple[Tensor, Tensor]:
    """(Euclidean distance [n] of pictures [n, C, H, W] of 0..1 to the nearest of `real`, which one that is [n])."""
    flat = pictures.flatten(1)
    best = torch.full((len(flat),), torch.inf, device=flat.device)
    which = torch.zeros(len(flat), dtype=torch.int64, device=flat.device)
    for index in real.chunks(at_once(AT_ONCE, pictures)):
        others = real.raw(index).flatten(1).float() / 255
        squares = others.square().sum(1) - 2 * flat @ others.T  # [n, chunk], without the picture's own square
        low, place = squares.min(1)
        which = torch.where(low < best, index[place], which)
        best = torch.minimum(low, best)
    matches = real.raw(which).flatten(1).float() / 255  # measured again: the difference of large squares is rough
    return (flat - matches).norm(dim=1), which
