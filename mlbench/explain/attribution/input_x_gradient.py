"""The gradient times the picture."""

from dataclasses import dataclass

from torch import Tensor, nn

from mlbench.data.modality import EVERY
from mlbench.explain.base import Attribution, input_gradient


@dataclass
class InputXGradient(Attribution):
    """Normalised pixels times the logit's gradient (Shrikumar et al. 2016): exact where the network is linear."""

    modalities = EVERY

    def maps(self, net: nn.Module, x: Tensor, target: Tensor) -> Tensor:
        """[B, C, H, W]."""
        return x * input_gradient(net, x, target)
