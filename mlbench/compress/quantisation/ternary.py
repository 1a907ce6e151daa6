"""Ternary networks: the weights of a layer are -a, 0 or a."""

from dataclasses import dataclass

from torch import Tensor

from mlbench.compress.quantisation.straight_through import Quantised, StraightThrough

THRESHOLD = 0.7  # times the mean of |w|; close to optimal for uniform and for normal weights (eq. 6)


@dataclass
class Ternary(Quantised):
    """Ternary weight networks (Li & Liu 2016).

    In each layer a weight up to the threshold becomes 0, a larger one -a or a, with the a of least squared error.
    """

    def quantise(self, real: Tensor) -> Tensor:
        """The ternary weights (eq. 3, 5 and 6); a is the mean of |w| over the weights above the threshold."""
        size = real.abs()
        large = size > THRESHOLD * size.mean()
        a = size[large].mean() if large.any() else size.new_zeros(())
        return real.sign() * a * large + 0.0  # no negative zeros

    def learner(self) -> StraightThrough:
        """Training with the gradient straight through the threshold; real weights are not clipped."""
        return StraightThrough(self.quantise)
