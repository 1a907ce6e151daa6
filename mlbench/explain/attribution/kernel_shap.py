"""Shapley values of superpixels by regression."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mlbench.explain.attribution.superpixels import Superpixels

ENDS = 1e6  # the weight of the picture itself and of the grey one, in theory infinite


@dataclass
class KernelShap(Superpixels):
    """Kernel SHAP (Lundberg & Lee 2017, theorem 2): what each superpixel adds, averaged over every order of arrival.

    The kernel (M - 1) / (C(M, k) k (M - k)) over how many of M superpixels stay is drawn from, not weighed by, and for
    each drawn picture its opposite is taken too (Covert & Lee 2021), which halves the variance at least.
    """

    def drawn(self, count: int) -> Tensor:
        """Everything, nothing, then pairs of opposites."""
        pairs = (self.perturbations - 2) // 2
        sizes = torch.arange(1, count)
        chances = 1 / (sizes * (count - sizes))
        size = sizes[torch.multinomial(chances, pairs, replacement=True)]
        kept = (torch.rand(pairs, count).argsort(1).argsort(1) < size[:, None]).float()
        return torch.cat([torch.ones(1, count), torch.zeros(1, count), kept, 1 - kept])

    def weights(self, kept: Tensor) -> Tensor:
        """The ends decide the sum of all."""
        ends = (kept.sum(1) == 0) | (kept.sum(1) == kept.shape[1])
        return torch.where(ends, ENDS, 1.0)

    def model(self) -> Any:
        """Least squares."""
        from captum._utils.models.linear_model import SkLearnLinearRegression

        return SkLearnLinearRegression()
