"""Binary networks: one bit for each weight."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from mlbench.compress.quantisation.straight_through import Quantised, StraightThrough


@dataclass
class Binary(Quantised):
    """BinaryConnect (Courbariaux et al. 2015, algorithm 1): the weights of each layer are -a or a.

    a is Glorot's coefficient sqrt(1.5 / (inputs + outputs)), so that real weights, clipped to [-a, a], cross zero at
    the same pace in every layer. The artefact holds the signs in both modes, a 1-bit network; the paper tests the
    stochastic mode with the real weights instead.

    Args:
        mode: `deterministic`: the sign of the real weight (eq. 1). `stochastic`: a with the probability
            clip((w / a + 1) / 2, 0, 1), the hard sigmoid, else -a (eq. 2 and 3).
    """

    mode: Literal["deterministic", "stochastic"]

    def quantise(self, real: Tensor) -> Tensor:
        """The weights by their sign: a from 0 upwards, -a below."""
        a = limit(real)
        return torch.where(real >= 0, a, -a)

    def draw(self, real: Tensor) -> Tensor:
        """Random weights: a with the probability of the hard sigmoid, else -a; from torch's global generator."""
        a = limit(real)
        uniform = torch.rand(real.shape).to(real.device)
        return torch.where(uniform < ((real / a + 1) / 2).clamp(0, 1), a, -a)

    def learner(self) -> StraightThrough:
        """Training with the gradient straight through the sign or the draw."""
        if self.mode == "deterministic":
            return StraightThrough(self.quantise, limit)
        return StraightThrough(self.draw, limit)


def limit(real: Tensor) -> float:
    """The coefficient a for the weights [outputs, inputs, ...] of a layer."""
    outputs, inputs, *kernel = real.shape
    return math.sqrt(1.5 / ((inputs + outputs) * math.prod(kernel)))
