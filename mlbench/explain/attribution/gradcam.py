"""Grad-CAM: feature maps weighted by their gradients."""

from collections import Counter
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlbench.core.errors import SettingError, UserError, need, require
from mlbench.explain.attribution.captum_adapter import quietly
from mlbench.explain.base import Attribution
from mlbench.explain.representation.activations import check_all_reach
from mlbench.models.surgery import submodule
from mlbench.training.module_hooks import hooked

MIXERS = (nn.MultiheadAttention,)  # behind them no unit belongs to a place any more


@dataclass
class GradCam(Attribution):
    """The channels of a layer, weighted by the mean gradient of each (Selvaraju et al. 2017, eq. 1 and 2), by captum.

    The map is upsampled bilinearly to the size of the picture. Deviation from the paper: negative values are kept.

    Args:
        layer: Path of a module whose output is [B, K, h, w]; None for the output that the network reads after the last
            convolution (`last_maps`).
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
        """Raise SettingError unless the layer is used once and its output is [B, K, h, w]."""
        path = self.layer or last_maps(net, x)
        shapes = [list(output.shape) if isinstance(output, Tensor) else [] for _, output in outputs(net, x, {path})]
        if len(shapes) != 1 or len(shapes[0]) != 4:
            problem = f"it is used {len(shapes)} times" if len(shapes) != 1 else f"its output is {shapes[0]}"
            raise SettingError("layer", path, f"a layer that is used once and has maps [B, K, h, w]; {problem}")

    def maps(self, net: nn.Module, x: Tensor, target: Tensor) -> Tensor:
        """[B, 1, H, W]."""
        from captum.attr import LayerGradCam

        layer = net.get_submodule(self.layer or last_maps(net, x[:1]))
        coarse = quietly(LayerGradCam(net, layer).attribute, x, target=target)  # [B, 1, h, w]
        return F.interpolate(coarse, x.shape[2:], mode="bilinear", align_corners=False)


def outputs(net: nn.Module, x: Tensor, paths: set[str]) -> list[tuple[str, object]]:
    """(path, output) of each run of these modules while `x` goes through the network."""
    calls: list[tuple[str, object]] = []
    hooks = []
    for path in paths:

        def record(module: nn.Module, inputs: object, output: object, path: str = path) -> None:  # noqa: ARG001
            calls.append((path, output))

        hooks.append(net.get_submodule(path).register_forward_hook(record))
    with hooked(hooks), torch.no_grad():
        net(x)
    return calls


def last_maps(net: nn.Module, x: Tensor) -> str:
    """The path of the module that is the last to give maps of the size that the last convolution's maps have.

    Behind batch norm and ReLU, or at the end of a residual block, where the network reads them (the paper's "rectified
    convolutional feature maps"). Modules that run twice cannot be told apart and do not count.
    """
    ran = outputs(net, x, {path for path, _ in net.named_modules() if path})
    once = {path for path, count in Counter(path for path, _ in ran).items() if count == 1}
    convolutions = [output for path, output in ran if isinstance(net.get_submodule(path), nn.Conv2d)]
    size = convolutions[-1].shape[2:]
    maps = (path for path, output in reversed(ran) if path in once and is_maps(output) and output.shape[2:] == size)
    return next(maps)


def is_maps(output: object) -> bool:
    """Whether this is a tensor [B, K, h, w]."""
    return isinstance(output, Tensor) and output.dim() == 4
