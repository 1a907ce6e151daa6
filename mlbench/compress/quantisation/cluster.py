"""Weight sharing: a few distinct values for each layer."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from mlbench.compress.base import Finetuned, Point, Workbench, weights
from mlbench.core.errors import require
from mlbench.training.learner import Learner
from mlbench.training.theta import Theta


class Shared(Learner):
    """Trains values that many weights share: the gradient of a centroid is the sum over its weights.

    All weights of a cluster hold the same value and get the same gradient, so they stay equal under any optimiser;
    weights that are 0 stay so.
    """

    def __init__(self, clusters: dict[str, Tensor]):
        self.clusters = clusters  # name of a weight -> number of each element's cluster, -1 for zeros

    def start(self, net: nn.Module, theta: Theta) -> None:  # noqa: ARG002
        """Number the clusters of all layers one behind the other, and find the weights that belong to one."""
        numbers = torch.full_like(theta.value, -2, dtype=torch.int64)  # [P]; -2: a parameter of its own
        count = 0
        for name, view in theta.named(numbers).items():
            if name in self.clusters:
                inside = self.clusters[name]
                view.copy_(torch.where(inside >= 0, inside + count, -1))
                count += int(inside.max()) + 1
        self.members, self.pruned = (numbers >= 0).nonzero().squeeze(1), (numbers == -1).nonzero().squeeze(1)
        self.numbers, self.count = numbers[self.members], count  # [members]

    def adjust(self, net: nn.Module, theta: Theta) -> None:  # noqa: ARG002
        """Every weight gets its centroid's gradient (Han et al. 2016, eq. 3)."""
        sums = theta.grad.new_zeros(self.count)
        sums.index_add_(0, self.numbers, theta.grad[self.members])
        theta.grad[self.members] = sums[self.numbers]
        theta.grad[self.pruned] = 0


@dataclass
class Cluster(Finetuned):
    """k-means on the weights of each layer, 2^bits centroids, then the centroids trained (Han et al. 2016, section 3).

    Centroids begin evenly spaced between the smallest and the largest weight (linear initialisation). Zeros, the pruned
    weights, keep out of it. `bits` may be a list: a point for each, all from the same network, the last handed on;
    `convolution_bits` is for convolutions, where they need more.
    """

    bits: Any  # a number of 1 to 8, or a list of them
    convolution_bits: int | None

    def __post_init__(self):
        super().__post_init__()
        self.bits = [self.bits] if isinstance(self.bits, int) else self.bits
        ok = isinstance(self.bits, list) and self.bits and all(isinstance(b, int) and 1 <= b <= 8 for b in self.bits)
        require(bool(ok), "bits", self.bits, "1 to 8, or a list of such numbers")
        few = self.convolution_bits is None or 1 <= self.convolution_bits <= 8
        require(few, "convolution_bits", self.convolution_bits, "null, or 1 to 8")

    def compress(self, dense: Point, bench: Workbench) -> Iterator[Point]:
        """A point for each number of bits."""
        for bits in self.bits:
            net = deepcopy(dense.net)
            clusters = {name: self.share(weight, bits) for name, weight in weights(net).items()}
            net = self.finetune(net, bench, f"{bits}-bit centroids", Shared(clusters))
            yield Point(f"cluster {bits} bits", net, dense.entropy, dense.blueprint)

    @torch.no_grad()
    def share(self, weight: nn.Parameter, bits: int) -> Tensor:
        """Replace each weight that is not 0 by its centroid; the number of its cluster, -1 for zeros."""
        if weight.ndim > 2 and self.convolution_bits is not None:
            bits = self.convolution_bits
        alive = weight != 0
        centroids, numbers = k_means(weight[alive].cpu().numpy(), 2**bits)
        numbers = torch.from_numpy(numbers).to(weight.device)
        weight[alive] = torch.from_numpy(centroids).to(weight)[numbers]
        clusters = torch.full(weight.shape, -1, device=weight.device)
        clusters[alive] = numbers
        return clusters


def k_means(values: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(centroids float32, the number of each value's centroid): at most `count`, fewer where there are fewer values."""
    distinct = np.unique(values)
    if len(distinct) <= count:
        return distinct, np.searchsorted(distinct, values)
    start = np.linspace(values.min(), values.max(), count)[:, None]
    with threadpool_limits(1):  # sums in one order, the same each time
        found = KMeans(count, init=start, n_init=1, max_iter=100).fit(values[:, None].astype(np.float64))
    return found.cluster_centers_[:, 0].astype(np.float32), found.labels_.astype(np.int64)
