"""Low-rank factorisation of weight matrices."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mlbench.compress.base import Context, Finetuned, Point, weights, weights_of
from mlbench.core.errors import require
from mlbench.models.surgery import acts_as, computes_plainly, read_by_others, replace, resized


@dataclass
class LowRank(Finetuned):
    """Replace each weight matrix [m, n] by factors [m, k] and [k, n] from its singular value decomposition.

    m*n weights become k*(m + n). The product is the best approximation of rank k in the Frobenius norm (Eckart & Young
    1936). A convolution counts as the matrix [O, I*K*K]; its factors are a K x K convolution to k channels and a 1 x 1
    convolution (Zhang et al. 2016). A layer that would not become smaller stays as it is, and so do attention,
    recurrent layers and convolutions with groups. A convolution of a class of the user's own keeps its class in the
    first factor.

    Args:
        energy: k is the smallest rank whose singular values, squared, sum to at least this share of all; or None.
        fraction: k is the largest rank that leaves at most this share of the layer's weights; or None. Exactly one of
            the two is set.
    """

    energy: float | None
    fraction: float | None

    def __post_init__(self):
        super().__post_init__()
        require((self.energy is None) != (self.fraction is None), "energy", self.energy, "null where fraction is given")
        require(self.energy is None or 0 < self.energy <= 1, "energy", self.energy, "above 0 and up to 1, or null")
        ok = self.fraction is None or 0 < self.fraction < 1
        require(ok, "fraction", self.fraction, "above 0 and below 1, or null")

    def changed(self, net: nn.Module) -> dict[str, nn.Parameter]:
        """The weights of the layers that can be factorised."""
        return weights_of(net, factorisable(net).values())

    def compress(self, dense: Point, context: Context) -> Iterator[Point]:
        """Yield one point: all layers factorised, then fine-tuned."""
        net = dense.net
        for path, layer in factorisable(net).items():
            matrix = layer.weight.detach().flatten(1)  # [m, n]
            rank = self.rank(matrix)
            if rank * sum(matrix.shape) < matrix.numel():
                replace(net, path, factorised(layer, rank))
        yield Point("low_rank", self.finetune(net, context, "low rank"), dense.entropy, dense.blueprint)

    def rank(self, matrix: Tensor) -> int:
        """The rank k for a matrix [m, n], at least 1."""
        if self.fraction is not None:
            return max(1, math.floor(self.fraction * matrix.numel() / sum(matrix.shape)))
        energy = torch.linalg.svdvals(matrix.double()).square().cumsum(0)
        return int((energy < self.energy * energy[-1] * (1 - 1e-12)).sum()) + 1


def factorisable(net: nn.Module) -> dict[str, nn.Linear | nn.Conv2d]:
    """Path -> layer that two others can stand in for: none that shares its weight or whose weight others read."""
    own, inside = set(weights(net).values()), read_by_others(net)
    kinds = {path: layer for path, layer in net.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)}
    return {
        path: layer
        for path, layer in kinds.items()
        if layer.weight in own and layer not in inside and getattr(layer, "groups", 1) == 1
        if computes_plainly(layer) or acts_as(pair := factorised(layer, 1), layer, product(*pair))
    }


def product(first: nn.Linear | nn.Conv2d, second: nn.Linear | nn.Conv2d) -> Tensor:
    """The weight of the one layer that computes what `first` and then `second` do."""
    return torch.tensordot(second.weight.detach().flatten(1), first.weight.detach(), 1)


@torch.no_grad()
def factorised(layer: nn.Linear | nn.Conv2d, rank: int) -> nn.Sequential:
    """Two layers whose product is the best approximation of `layer` of this rank; the bias goes to the second."""
    left, singular, right = torch.linalg.svd(layer.weight.flatten(1), full_matrices=False)
    root = singular[:rank].sqrt()
    first, second = root[:, None] * right[:rank], left[:, :rank] * root  # [k, n], [m, k]
    bias = layer.bias is not None
    if isinstance(layer, nn.Linear):
        pair = nn.Linear(layer.in_features, rank, bias=False), nn.Linear(rank, layer.out_features, bias=bias)
    else:
        pair = like(layer, rank), nn.Conv2d(rank, layer.out_channels, 1, bias=bias)
    pair[0].weight.copy_(first.view_as(pair[0].weight))
    pair[1].weight.copy_(second.view_as(pair[1].weight))
    if bias:
        pair[1].bias.copy_(layer.bias)
    return nn.Sequential(*pair).to(layer.weight.device).requires_grad_(layer.weight.requires_grad)


def like(layer: nn.Conv2d, outputs: int, groups: int = 1) -> nn.Conv2d:
    """A convolution of the geometry and inputs of `layer` without bias; of its class where that has its own forward."""
    if not computes_plainly(layer):
        shape = [outputs, layer.in_channels // groups, *layer.kernel_size]
        return resized(layer, {"out_channels": outputs, "groups": groups}, {"weight": shape})
    geometry = {name: getattr(layer, name) for name in ("stride", "padding", "dilation", "padding_mode")}
    return nn.Conv2d(layer.in_channels, outputs, layer.kernel_size, groups=groups, bias=False, **geometry)
