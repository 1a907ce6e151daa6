"""Networks whose weights are -a, 0 or a."""

from dataclasses import dataclass

from torch import Tensor

from mlbench.compress.quantisation.straight_through import Coarse, StraightThrough

THRESHOLD = 0.7  # of the mean of |w|, near the best for uniform and for normal weights (eq. 6)


@dataclass
class Ternary(Coarse):
    """Ternary weight networks (Li & Liu 2016): in each layer 0 up to the threshold, a beyond, with the best a."""

    def quantise(self, real: Tensor) -> Tensor:
        """eq. 3, 5 and 6: a is the mean of |w| over the weights beyond the threshold."""
        size = real.abs()
        large = size > THRESHOLD * size.mean()
        a = size[large].mean() if large.any() else size.new_zeros(())
        return real.sign() * a * large + 0.0  # no negative zeros

    def learner(self) -> StraightThrough:
        """Straight through the threshold; no clipping."""
        return StraightThrough(self.quantise)
