"""The gradient as an explanation."""

from dataclasses import dataclass

from torch import Tensor, nn

from mlbench.data.modality import EVERY
from mlbench.explain.base import Attribution, input_gradient


@dataclass
class Saliency(Attribution):
    """The gradient of the logit with respect to the pixels (Simonyan et al. 2014, section 3), its sign kept."""

    modalities = EVERY
    amounts = False

    def maps(self, net: nn.Module, x: Tensor, target: Tensor) -> Tensor:
        """[B, C, H, W]."""
        return input_gradient(net, x, target)
