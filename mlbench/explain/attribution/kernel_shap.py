"""Kernel SHAP: Shapley values by regression."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mlbench.explain.attribution.superpixels import Superpixels

ENDS = 1e6  # weight of the full and the empty set, infinite in theory


@dataclass
class KernelShap(Superpixels):
    """Kernel SHAP (Lundberg & Lee 2017, theorem 2): the mean contribution of each superpixel over all orders.

    Deviations from the paper: subsets of k of the M superpixels are sampled in proportion to the Shapley kernel
    (M - 1) / (C(M, k) k (M - k)) instead of being weighted by it, and the complement of each subset is evaluated as
    well (paired sampling, Covert & Lee 2021), which at least halves the variance.
    """

    def sample_masks(self, count: int) -> Tensor:
        """The full and the empty set, then pairs of complements, float [perturbations, count]."""
        pairs = (self.perturbations - 2) // 2
        sizes = torch.arange(1, count)
        chances = 1 / (sizes * (count - sizes))
        size = sizes[torch.multinomial(chances, pairs, replacement=True)]
        masks = (torch.rand(pairs, count).argsort(1).argsort(1) < size[:, None]).float()
        return torch.cat([torch.ones(1, count), torch.zeros(1, count), masks, 1 - masks])

    def weights(self, masks: Tensor) -> Tensor:
        """A large weight on the full and the empty set enforces completeness."""
        ends = (masks.sum(1) == 0) | (masks.sum(1) == masks.shape[1])
        return torch.where(ends, ENDS, 1.0)

    def model(self) -> Any:
        """Least squares."""
        from captum._utils.models.linear_model import SkLearnLinearRegression

        return SkLearnLinearRegression()
