"""Augmentation of whole batches on the device."""

import torch
import torch.nn.functional as F
from torch import Tensor


def crop_flip(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Shift each picture by up to an eighth of its side, black at the edges, and mirror half of them at random.

    uint8 [B, C, H, W] in and out; the draws come from the CPU's `generator`, equal on every device.
    """
    return shift_and_mirror(pictures, 8, 0.5, generator)


def shift(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Shift each picture by up to a fourteenth of its side: two pixels of 28, as Hinton et al. (2015, section 3) do."""
    return shift_and_mirror(pictures, 14, 0.0, generator)


def shift_and_mirror(pictures: Tensor, part: int, mirror_share: float, generator: torch.Generator) -> Tensor:
    """Shift and mirror pictures at random.

    Args:
        pictures: uint8 [B, C, H, W].
        part: Pictures are shifted by up to 1 / `part` of their shorter side, and by up to one pixel at least.
        mirror_share: Probability that a picture is mirrored.
        generator: Random numbers, on the CPU.

    Returns:
        Pictures of the same shape, black where nothing was.
    """
    count, _, height, width = pictures.shape
    pad = max(1, min(height, width) // part)
    draws = torch.randint(0, 2 * pad + 1, (2, count, 1), generator=generator)
    mirror = torch.rand(count, 1, generator=generator) < mirror_share
    rows = draws[0] + torch.arange(height)  # [B, H] into the padded picture
    columns = draws[1] + torch.where(mirror, torch.arange(width).flip(0), torch.arange(width))  # [B, W]
    rows, columns = rows.to(pictures.device), columns.to(pictures.device)
    padded = F.pad(pictures, (pad, pad, pad, pad)).movedim(1, -1)  # [B, H', W', C]
    example = torch.arange(count, device=pictures.device).view(-1, 1, 1)
    return padded[example, rows.unsqueeze(2), columns.unsqueeze(1)].movedim(-1, 1)


AUGMENTATIONS = {"none": None, "crop_flip": crop_flip, "shift": shift}
