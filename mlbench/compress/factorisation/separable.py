"""Depthwise separable convolutions."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mlbench.compress.base import Context, Finetuned, Point, weights_of
from mlbench.compress.factorisation.low_rank import like
from mlbench.models.surgery import acts_as, computes_plainly, replace


@dataclass
class Separable(Finetuned):
    """Replace each K x K convolution by a depthwise and a pointwise one (Howard et al. 2017, section 3.1).

    K*K*I*O weights become K*K*I + I*O. Unlike the paper, which trains from random weights, the new layers start from
    the best approximation of the old: for each input channel, the first singular pair of the [O, K*K] matrix of its
    filters. Convolutions with groups, and those that would not become smaller, stay as they are. One of a class of the
    user's own keeps its class in the depthwise convolution.
    """

    def changed(self, net: nn.Module) -> dict[str, nn.Parameter]:
        """The weights of the convolutions that are split."""
        return weights_of(net, separable(net).values())

    def compress(self, dense: Point, context: Context) -> Iterator[Point]:
        """Yield one point: all convolutions split, then fine-tuned."""
        net = dense.net
        for path, layer in separable(net).items():
            pair = separated(layer)
            assert count(pair[0]) + count(pair[1]) == separated_count(layer)
            replace(net, path, pair)
        yield Point("separable", self.finetune(net, context, "separable"), dense.entropy, dense.blueprint)


def separable(net: nn.Module) -> dict[str, nn.Conv2d]:
    """Path -> convolution that becomes smaller as a depthwise and a pointwise one."""
    kinds = {path: layer for path, layer in net.named_modules() if isinstance(layer, nn.Conv2d) and layer.groups == 1}
    return {
        path: layer
        for path, layer in kinds.items()
        if count(layer) > separated_count(layer)
        if computes_plainly(layer) or acts_as(pair := separated(layer), layer, composed(*pair))
    }


def composed(depthwise: nn.Conv2d, pointwise: nn.Conv2d) -> Tensor:
    """The weight [O, I, K, K] of the one convolution that computes what both do one after the other."""
    return (pointwise.weight * depthwise.weight.transpose(0, 1)).detach()


def count(layer: nn.Conv2d) -> int:
    """The number of weights without biases, K*K*I*O for an ordinary convolution."""
    return layer.weight.numel()


def separated_count(layer: nn.Conv2d) -> int:
    """The number of weights of its depthwise and pointwise convolutions, K*K*I + I*O."""
    outputs, inputs, height, width = layer.weight.shape
    return height * width * inputs + inputs * outputs


@torch.no_grad()
def separated(layer: nn.Conv2d) -> nn.Sequential:
    """A depthwise and a pointwise convolution that approximate `layer`; the bias goes to the second."""
    outputs, inputs = layer.weight.shape[:2]
    depthwise = like(layer, inputs, groups=inputs)
    pointwise = nn.Conv2d(inputs, outputs, 1, bias=layer.bias is not None)
    left, singular, right = torch.linalg.svd(
        layer.weight.transpose(0, 1).flatten(2), full_matrices=False
    )  # [I, O, K*K]
    root = singular[:, 0].sqrt()  # [I]
    depthwise.weight.copy_((root[:, None] * right[:, 0]).view_as(depthwise.weight))
    pointwise.weight.copy_((root[:, None] * left[:, :, 0]).T.reshape(outputs, inputs, 1, 1))
    if layer.bias is not None:
        pointwise.bias.copy_(layer.bias)
    return nn.Sequential(depthwise, pointwise).to(layer.weight.device).requires_grad_(layer.weight.requires_grad)
