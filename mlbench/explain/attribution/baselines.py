"""Pictures that show nothing: what an explanation compares with."""

from collections.abc import Callable

import torch
from torch import Tensor

from mlbench.explain.attribution.metrics import blurred


def zero(x: Tensor, black: Tensor) -> Tensor:
    """Black pictures."""
    return black.to(x).expand_as(x)


def mean(x: Tensor, black: Tensor) -> Tensor:  # noqa: ARG001
    """0 of the normalised pictures: the mean of the training pictures, unless data.normalise=unit."""
    return torch.zeros_like(x)


def blur(x: Tensor, black: Tensor) -> Tensor:  # noqa: ARG001
    """The pictures themselves, blurred."""
    return blurred(x)


REFERENCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"zero": zero, "mean": mean, "blur": blur}
