"""Weight sharing: the weights of a layer take a few distinct values, its centroids."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from mlbench.compress.base import Context, Finetuned, Point, weights
from mlbench.core.errors import require
from mlbench.training.learner import Learner
from mlbench.training.theta import Theta


class Shared(Learner):
    """Train centroids: the gradient of a centroid is the sum of those of its weights.

    All weights of a cluster have the same value and get the same gradient, so they stay equal under any optimiser.
    Zeros stay zero.

    Args:
        clusters: Parameter name -> index of each element's cluster, -1 for zeros.
    """

    def __init__(self, clusters: dict[str, Tensor]):
        self.clusters = clusters

    def start(self, net: nn.Module, theta: Theta) -> None:  # noqa: ARG002
        """Number the clusters of all layers consecutively, and find the members of each in the parameter vector."""
        numbers = torch.full_like(theta.value, -2, dtype=torch.int64)  # [P]; -2: in no cluster, not shared
        count = 0
        for name, view in theta.named(numbers).items():
            if name in self.clusters:
                inside = self.clusters[name]
                view.copy_(torch.where(inside >= 0, inside + count, -1))
                count += int(inside.max()) + 1
        self.members, self.pruned = (numbers >= 0).nonzero().squeeze(1), (numbers == -1).nonzero().squeeze(1)
        self.numbers, self.count = numbers[self.members], count  # [members]

    def adjust(self, net: nn.Module, theta: Theta) -> None:  # noqa: ARG002
        """Give every weight the gradient of its centroid (Han et al. 2016, eq. 3)."""
        sums = theta.grad.new_zeros(self.count)
        sums.index_add_(0, self.numbers, theta.grad[self.members])
        theta.grad[self.members] = sums[self.numbers]
        theta.grad[self.pruned] = 0


@dataclass
class Cluster(Finetuned):
    """Weight sharing by k-means on each layer, then training of the centroids (Han et al. 2016, section 3).

    The initial centroids are evenly spaced between the smallest and the largest weight (linear initialisation). Zeros,
    which are the pruned weights, belong to no cluster.

    Args:
        bits: Bits of an index, 1 to 8, for 2^bits centroids; or a list, with a point for each number of bits, all from
            the same network.
        convolution_bits: Bits in convolutional layers, if they need more; None: the same.
    """

    iterations: ClassVar[int] = 100  # of k-means, at most
    shortest = {"iterations": 1}

    bits: Any
    convolution_bits: int | None

    def __post_init__(self):
        super().__post_init__()
        self.bits = [self.bits] if isinstance(self.bits, int) else self.bits
        ok = isinstance(self.bits, list) and self.bits and all(isinstance(b, int) and 1 <= b <= 8 for b in self.bits)
        require(bool(ok), "bits", self.bits, "1 to 8, or a list of such numbers")
        few = self.convolution_bits is None or 1 <= self.convolution_bits <= 8
        require(few, "convolution_bits", self.convolution_bits, "null, or 1 to 8")

    def compress(self, dense: Point, context: Context) -> Iterator[Point]:
        """Yield a point for each number of bits."""
        for bits in self.bits:
            net = deepcopy(dense.net)
            clusters = {name: self.share(weight, bits) for name, weight in weights(net).items()}
            net = self.finetune(net, context, f"{bits}-bit centroids", Shared(clusters))
            yield Point(f"cluster {bits} bits", net, dense.entropy, dense.blueprint)

    @torch.no_grad()
    def share(self, weight: nn.Parameter, bits: int) -> Tensor:
        """Replace each nonzero weight by its centroid, in place, and return the clusters' indices, -1 for zeros."""
        if weight.ndim > 2 and self.convolution_bits is not None:
            bits = self.convolution_bits
        alive = weight != 0
        centroids, numbers = k_means(weight[alive].cpu().numpy(), 2**bits, self.iterations)
        numbers = torch.from_numpy(numbers).to(weight.device)
        weight[alive] = torch.from_numpy(centroids).to(weight)[numbers]
        clusters = torch.full(weight.shape, -1, device=weight.device)
        clusters[alive] = numbers
        return clusters


def k_means(values: np.ndarray, count: int, iterations: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """One-dimensional k-means with linear initialisation.

    Args:
        values: The values to cluster, float32 [n].
        count: Number of centroids; with no more distinct values than that, these are the centroids.
        iterations: Rounds of assignment, at most.

    Returns:
        The centroids, float32 [at most count], and the index of each value's centroid, [n].
    """
    distinct = np.unique(values)
    if len(distinct) <= count:
        return distinct, np.searchsorted(distinct, values)
    start = np.linspace(values.min(), values.max(), count)[:, None]
    with threadpool_limits(1):  # sums in the same order each time
        clustering = KMeans(count, init=start, n_init=1, max_iter=iterations).fit(values[:, None].astype(np.float64))
    return clustering.cluster_centers_[:, 0].astype(np.float32), clustering.labels_.astype(np.int64)
