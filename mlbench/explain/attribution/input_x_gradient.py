"""Input times gradient."""

from dataclasses import dataclass

from torch import Tensor, nn

from mlbench.data.modality import EVERY
from mlbench.explain.base import Attribution, input_gradient


@dataclass
class InputXGradient(Attribution):
    """The normalised input times the gradient of the logit (Shrikumar et al. 2016), exact for a linear network."""

    modalities = EVERY

    def maps(self, net: nn.Module, x: Tensor, target: Tensor) -> Tensor:
        """[B, C, H, W]."""
        return x * input_gradient(net, x, target)
