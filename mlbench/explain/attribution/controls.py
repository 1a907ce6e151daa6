"""Control maps that do not explain the network, as a lower bound for every method."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlbench.explain.attribution.examples import View
from mlbench.explain.base import Maps

SOBEL = torch.tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]]) / 8


def controls(maps: Maps, view: View, outputs: int, generator: torch.Generator) -> dict[str, Maps]:
    """Name -> control of a view: noise, edges, the input itself, or the method's map of another class."""
    shift = torch.randint(1, outputs, (), generator=generator).item()

    def random(net: nn.Module, x: Tensor, target: Tensor) -> Tensor:  # noqa: ARG001
        return torch.randn(view.random(x), generator=generator).to(x.device)

    def wrong_class(net: nn.Module, x: Tensor, target: Tensor) -> Tensor:
        return maps(net, x, (target + shift) % outputs)

    makers = {"random": random, "edges": edges, "input": input_itself, "wrong_class": wrong_class}
    return {name: makers[name] for name in view.controls}


def edges(net: nn.Module, x: Tensor, target: Tensor) -> Tensor:  # noqa: ARG001
    """Magnitude of the gradient of the brightness (Sobel filter), [B, 1, H, W]."""
    grey = F.pad(x.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    kernels = torch.stack([SOBEL, SOBEL.T])[:, None].to(x)
    return F.conv2d(grey, kernels).square().sum(1, keepdim=True).sqrt()


def input_itself(net: nn.Module, x: Tensor, target: Tensor) -> Tensor:  # noqa: ARG001
    """The normalised input."""
    return x
