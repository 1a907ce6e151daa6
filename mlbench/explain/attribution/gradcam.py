"""Grad-CAM: feature maps weighted by their gradients."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mlbench.core.errors import SettingError, UserError, need, require
from mlbench.explain.attribution.captum_adapter import quietly
from mlbench.explain.base import Attribution, logit
from mlbench.explain.representation.activations import check_all_reach
from mlbench.models.surgery import submodule
from mlbench.training.module_hooks import hooked

MIXERS = (nn.MultiheadAttention,)  # behind them no unit belongs to a place any more


@dataclass
class GradCam(Attribution):
    """The channels of a layer, weighted by the mean gradient of each (Selvaraju et al. 2017, eq. 1 and 2).

    The map is upsampled bilinearly to the size of the picture. Deviation from the paper: negative values are kept.

    Args:
        layer: Path of a module whose output is [B, K, h, w]; None for the last maps that the network reads, behind the
            batch norm, the activation and the sum that follow the last convolution (`LastMaps`).
    """

    layer: str | None

    def check(self, net: nn.Module) -> None:
        """Raise UserError unless captum is installed and the layer, or a convolution, exists."""
        need("captum.attr", "explain", "explain=gradcam")
        check_all_reach(net)
        if self.layer is not None:
            submodule(net, self.layer, "explain.layer")
            return
        layers = list(net.modules())
        if not any(isinstance(layer, nn.Conv2d) for layer in layers):
            raise UserError("explain=gradcam needs a network with a convolution, as model=cnn, and this one has none")
        mixed = any(isinstance(layer, MIXERS) for layer in layers)
        message = "the path of a layer with maps [B, K, h, w]; attention mixes places after the last convolution"
        require(not mixed, "layer", "null", message)

    def rehearse(self, net: nn.Module, x: Tensor) -> None:
        """Raise SettingError unless there are last maps, or the layer is used once and its output is [B, K, h, w]."""
        if self.layer is None:
            with LastMaps() as found, torch.no_grad():
                net(x)
            require(found.place is not None, "layer", "null", "the path of a layer; no convolution is seen to run")
            return
        shapes = [list(output.shape) if isinstance(output, Tensor) else [] for output in outputs(net, x, self.layer)]
        if len(shapes) != 1 or len(shapes[0]) != 4:
            problem = f"it is used {len(shapes)} times" if len(shapes) != 1 else f"its output is {shapes[0]}"
            raise SettingError("layer", self.layer, f"a layer that is used once and has maps [B, K, h, w]; {problem}")

    def maps(self, net: nn.Module, x: Tensor, target: Tensor) -> Tensor:
        """[B, 1, H, W]."""
        if self.layer is None:
            coarse = of_last_maps(net, x, target)
        else:
            from captum.attr import LayerGradCam

            coarse = quietly(LayerGradCam(net, net.get_submodule(self.layer)).attribute, x, target=target)
        return F.interpolate(coarse, x.shape[2:], mode="bilinear", align_corners=False)


def of_last_maps(net: nn.Module, x: Tensor, target: Tensor) -> Tensor:
    """Grad-CAM [B, 1, h, w] of the logits of `target` [B], on the last maps that the network reads."""
    first, x = x[:1], x.detach().requires_grad_()  # outside: slices are maps, too
    with LastMaps() as found, torch.no_grad():
        net(first)
    with torch.enable_grad(), LastMaps(found.place) as last:
        chosen = logit(net, x, target).sum()
    (gradient,) = torch.autograd.grad(chosen, last.maps)
    weights = gradient.mean((2, 3), keepdim=True)  # [B, K, 1, 1]
    return (weights * last.maps).sum(1, keepdim=True).detach()


class LastMaps(TorchFunctionMode):
    """Watches the functions that a network calls, of modules or not, for those that give maps [B, K, h, w].

    The last maps of the size that the last convolution gives are what the network reads: the paper's "rectified
    convolutional feature maps", also where the activation is a function, or a module that runs more than once.

    Args:
        wanted: Which of the maps to keep, counted from 0; None to find out.

    Attributes:
        place: Which of the maps are the last ones; None where there was no convolution.
        maps: Those that were wanted.
    """

    def __init__(self, wanted: int | None = None):
        super().__init__()
        self.wanted, self.count = wanted, 0
        self.size: torch.Size | None = None
        self.place: int | None = None

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        """Call the function, and note what it gives."""
        found = function(*arguments, **(named or {}))
        if isinstance(found, Tensor) and found.dim() == 4:
            if function is torch.conv2d:
                self.size = found.shape[2:]
            if found.shape[2:] == self.size:
                self.place = self.count
            if self.count == self.wanted:
                self.maps = found
            self.count += 1
        return found


def outputs(net: nn.Module, x: Tensor, path: str) -> list[object]:
    """What the module at `path` gives at each of its runs while `x` goes through the network."""
    calls: list[object] = []

    def record(module: nn.Module, inputs: object, output: object) -> None:  # noqa: ARG001
        calls.append(output)

    with hooked([net.get_submodule(path).register_forward_hook(record)]), torch.no_grad():
        net(x)
    return calls
