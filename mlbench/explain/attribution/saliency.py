"""Saliency maps: the gradient of a logit."""

from dataclasses import dataclass

from torch import Tensor, nn

from mlbench.data.modality import EVERY
from mlbench.explain.base import Attribution, input_gradient


@dataclass
class Saliency(Attribution):
    """The signed gradient of the logit with respect to the input (Simonyan et al. 2014, section 3).

    The paper takes absolute values; the sign shows here whether a larger value would raise or lower the logit.
    """

    modalities = EVERY
    amounts = False

    def maps(self, net: nn.Module, x: Tensor, target: Tensor) -> Tensor:
        """[B, C, H, W]."""
        return input_gradient(net, x, target)
