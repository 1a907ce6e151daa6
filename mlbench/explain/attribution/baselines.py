"""Baselines: uninformative inputs that an explanation compares with."""

from collections.abc import Callable

import torch
from torch import Tensor

from mlbench.explain.attribution.metrics import blurred


def zero(x: Tensor, black: Tensor) -> Tensor:
    """Black pixels."""
    return black.to(x).expand_as(x)


def mean(x: Tensor, black: Tensor) -> Tensor:  # noqa: ARG001
    """Zeros after normalisation: the mean of the training data, unless data.normalise=unit."""
    return torch.zeros_like(x)


def blur(x: Tensor, black: Tensor) -> Tensor:  # noqa: ARG001
    """The inputs after a Gaussian blur."""
    return blurred(x)


REFERENCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"zero": zero, "mean": mean, "blur": blur}
