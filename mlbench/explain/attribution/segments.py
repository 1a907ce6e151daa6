"""Superpixels: connected parts of a picture that look alike."""

import numpy as np
import torch
from torch import Tensor

COMPACTNESS = 0.1  # how much nearness counts beside likeness, for pictures scaled to 0..1


def slic(x: Tensor, segments: int) -> Tensor:
    """About so many superpixels (Achanta et al. 2012) of each picture [B, C, H, W]: their numbers, int64 [B, H, W].

    Of a single row, as features of a table are, each place is a part of its own.
    """
    if x.shape[2] == 1:
        return torch.arange(x.shape[3], device=x.device).expand(len(x), 1, -1)
    from skimage.segmentation import slic as segmented

    low, high = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
    pictures = ((x - low) / (high - low).clamp(min=1e-12)).permute(0, 2, 3, 1).cpu().numpy()
    settings = {"n_segments": segments, "compactness": COMPACTNESS, "start_label": 0, "channel_axis": -1}
    labels = [segmented(picture, convert2lab=False, **settings) for picture in pictures]
    return torch.from_numpy(np.stack(labels).astype(np.int64)).to(x.device)
