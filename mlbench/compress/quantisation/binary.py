"""Networks with one bit a weight."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from mlbench.compress.quantisation.straight_through import Coarse, StraightThrough


@dataclass
class Binary(Coarse):
    """BinaryConnect (Courbariaux et al. 2015, algorithm 1): weights -a and a in each layer.

    a is Glorot's coefficient sqrt(1.5 / (inputs + outputs)), so that real weights, clipped to [-a, a], cross zero at
    the same pace in every layer. `deterministic` takes the sign of the real weight (eq. 1), `stochastic` draws it with
    the hard sigmoid clip((w / a + 1) / 2, 0, 1) as the probability of a (eq. 2, 3). What is tested and written is the
    sign in both cases, a 1-bit network; the paper tests the stochastic one with its real weights.
    """

    mode: Literal["deterministic", "stochastic"]

    def quantise(self, real: Tensor) -> Tensor:
        """a for 0 and above, -a below."""
        a = limit(real)
        return torch.where(real >= 0, a, -a)

    def draw(self, real: Tensor) -> Tensor:
        """a with the probability of the hard sigmoid, else -a; by torch's own draws, which are each fit's."""
        a = limit(real)
        drawn = torch.rand(real.shape).to(real.device)
        return torch.where(drawn < ((real / a + 1) / 2).clamp(0, 1), a, -a)

    def learner(self) -> StraightThrough:
        """Straight through the sign or the draw."""
        if self.mode == "deterministic":
            return StraightThrough(self.quantise, limit)
        return StraightThrough(self.draw, limit)


def limit(real: Tensor) -> float:
    """a for a layer's weights [outputs, inputs, ...]."""
    outputs, inputs, *kernel = real.shape
    return math.sqrt(1.5 / ((inputs + outputs) * math.prod(kernel)))
