"""LIME: a local linear model."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mlbench.core.errors import require
from mlbench.explain.attribution.superpixels import Superpixels


@dataclass
class Lime(Superpixels):
    """LIME (Ribeiro et al. 2016, section 3.4): weighted ridge regression on perturbed inputs.

    Each superpixel is present with probability 1/2. A perturbed input has weight exp(-d^2 / width^2), where d is the
    cosine distance to the full set. Deviations from the authors' code for images: no square root of the weight, and
    all superpixels are used, not the K best.

    Args:
        width: Width of the kernel.
        ridge: L2 penalty; it should be small compared with perturbations / 4, the diagonal of the normal equations.
    """

    width: float
    ridge: float

    def __post_init__(self):
        super().__post_init__()
        require(self.width > 0, "width", self.width, "above 0")
        require(self.ridge >= 0, "ridge", self.ridge, "0 or more")

    def sample_masks(self, count: int) -> Tensor:
        """Random sets; the first is the full set."""
        masks = torch.rand(self.perturbations, count) < 0.5
        masks[0] = True
        return masks.float()

    def weights(self, masks: Tensor) -> Tensor:
        """The kernel; the cosine of a 0/1 vector and ones is the square root of the share of ones."""
        distance = 1 - masks.mean(1).sqrt()
        return torch.exp(-((distance / self.width) ** 2))

    def model(self) -> Any:
        """Ridge regression."""
        from captum._utils.models.linear_model import SkLearnRidge

        return SkLearnRidge(alpha=self.ridge)
