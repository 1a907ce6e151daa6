"""SmoothGrad: gradients averaged over noisy copies of the input."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from mlbench.core.errors import require
from mlbench.data.modality import EVERY
from mlbench.explain.attribution.inference_copy import folded
from mlbench.explain.base import Attribution, Context, at_once, input_gradient

AT_ONCE = 64  # noisy copies; more would only take more memory


@dataclass
class SmoothGrad(Attribution):
    """The mean gradient over copies of the input with Gaussian noise (Smilkov et al. 2017, section 2).

    Args:
        copies: Number of noisy copies.
        noise: Standard deviation of the noise, as a fraction of each input's range (max - min).
        moment: `mean` of the gradients, mean `square` (Hooker et al. 2019), or `variance` (VarGrad, Adebayo et al.
            2018).
    """

    modalities = EVERY
    amounts = False
    shortest = {"copies": 2}

    copies: int
    noise: float
    moment: Literal["mean", "square", "variance"]

    def __post_init__(self):
        super().__post_init__()
        enough = 2 if self.moment == "variance" else 1
        require(self.copies >= enough, "copies", self.copies, f"{enough} or more")
        require(0 <= self.noise < 10, "noise", self.noise, "0 or more, a share of the picture's range")

    def look(self, context: Context) -> None:
        """Noise is drawn from the run's generator."""
        self.generator = context.generator

    def maps(self, net: nn.Module, x: Tensor, target: Tensor) -> Tensor:
        """[B, C, H, W]. Memory does not grow with `copies`."""
        size = self.noise * (x.amax((1, 2, 3), keepdim=True) - x.amin((1, 2, 3), keepdim=True))
        total, squares = torch.zeros_like(x), torch.zeros_like(x)
        quick, each = folded(net, x), max(1, at_once(AT_ONCE, x) // len(x))
        for count in [each] * (self.copies // each) + [self.copies % each] * bool(self.copies % each):
            noise = torch.randn(count, *x.shape, generator=self.generator).to(x.device)
            noisy = (x + size * noise).flatten(0, 1)  # [count * B, C, H, W]
            gradients = input_gradient(quick, noisy, target.repeat(count)).view(count, *x.shape)
            total += gradients.sum(0)
            if self.moment != "mean":
                squares += gradients.square().sum(0)
        mean = total / self.copies
        if self.moment == "mean":
            return mean
        return squares / self.copies - (mean.square() if self.moment == "variance" else 0)
