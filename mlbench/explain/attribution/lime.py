"""A linear model around one answer."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mlbench.core.errors import require
from mlbench.explain.attribution.superpixels import Superpixels


@dataclass
class Lime(Superpixels):
    """LIME (Ribeiro et al. 2016, section 3.4): ridge regression, in which little changed pictures count more.

    Each superpixel stays with probability 1/2. The weight is exp(-d^2 / width^2), d the cosine distance between what
    stays and all, as in the authors' code for pictures; its square root there is left out, and all superpixels are
    used, not the K best of them.
    """

    width: float
    ridge: float  # small beside perturbations / 4, the least squares' own share

    def __post_init__(self):
        super().__post_init__()
        require(self.width > 0, "width", self.width, "above 0")
        require(self.ridge >= 0, "ridge", self.ridge, "0 or more")

    def drawn(self, count: int) -> Tensor:
        """Each stays or not; in the first picture all stay."""
        kept = torch.rand(self.perturbations, count) < 0.5
        kept[0] = True
        return kept.float()

    def weights(self, kept: Tensor) -> Tensor:
        """By the cosine between a 0/1 vector and ones: the square root of the share that stays."""
        distance = 1 - kept.mean(1).sqrt()
        return torch.exp(-((distance / self.width) ** 2))

    def model(self) -> Any:
        """Ridge regression."""
        from captum._utils.models.linear_model import SkLearnRidge

        return SkLearnRidge(alpha=self.ridge)
