"""Guided backpropagation: only positive gradients pass a ReLU."""

from dataclasses import dataclass

from torch import Tensor, nn

from mlbench.core.errors import need
from mlbench.explain.attribution.captum_adapter import quietly
from mlbench.explain.attribution.relu_check import check_relus
from mlbench.explain.base import Attribution


@dataclass
class GuidedBackprop(Attribution):
    """The gradient, of which every ReLU passes only the positive part (Springenberg et al. 2015), by captum.

    The maps are sharp, but nearly the same for a network whose upper layers are random (Adebayo et al. 2018); they fail
    the randomisation test.
    """

    def check(self, net: nn.Module) -> None:  # noqa: ARG002
        """Raise UserError unless captum is installed."""
        need("captum.attr", "explain", "explain=guided_backprop")

    def rehearse(self, net: nn.Module, x: Tensor) -> None:
        """Raise UserError unless every ReLU is a module that is used once."""
        check_relus(net, x, "guided_backprop")

    def maps(self, net: nn.Module, x: Tensor, target: Tensor) -> Tensor:
        """[B, C, H, W]."""
        from captum.attr import GuidedBackprop as Captums

        return quietly(Captums(net).attribute, x, target=target)
