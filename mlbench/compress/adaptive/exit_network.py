"""A chain of blocks with early exits: an example that has stopped at an exit is not computed any further."""

import math
from itertools import islice
from typing import Literal

import torch
from torch import Tensor, nn


def blocks(net: nn.Sequential) -> list[int]:
    """The index behind each block of layers; a new block begins at every layer with a weight matrix."""
    heavy = [i for i, layer in enumerate(net) if any(p.ndim > 1 for p in layer.parameters())]
    return [*heavy[1:], len(net)]


@torch.no_grad()
def exit_sizes(net: nn.Sequential, ends: list[int], grid: int, example: Tensor) -> list[int]:
    """The number of features that reach each exit.

    Args:
        net: The network that gets the exits; it is put in eval mode.
        ends: Index behind each block that gets an exit.
        grid: Cells on each side that feature maps are averaged to.
        example: One input, [1, ...].
    """
    return [pooled(run_layers(net.eval(), 0, end, example), grid).shape[1] for end in ends]


def run_layers(net: nn.Sequential, start: int, end: int, x: Tensor) -> Tensor:
    """Apply the layers from `start` up to, but not including, `end`."""
    for layer in islice(net, start, end):
        x = layer(x)
    return x


def pooled(x: Tensor, grid: int) -> Tensor:
    """Average feature maps [B, C, H, W] over at most grid x grid cells and flatten them; [B, N] stays as it is."""
    if max(x.shape[2:], default=0) <= grid:  # already that small
        return x.flatten(1)
    return nn.functional.adaptive_avg_pool2d(x, [min(grid, side) for side in x.shape[2:]]).flatten(1)


def probability(logits: Tensor) -> Tensor:
    """The highest class probability, [B]."""
    return logits.softmax(1).amax(1)


def negative_entropy(logits: Tensor) -> Tensor:
    """The negative entropy sum(p log p) in nats, [B]; 0 where one class has all the probability."""
    logs = logits.log_softmax(1)
    return (logs.exp() * logs).sum(1)


CONFIDENCES = {"probability": probability, "entropy": negative_entropy}


class Exits(nn.Module):
    """A chain of blocks with a linear classifier, an exit, behind some of them.

    In training mode the network runs to its end. In eval mode each block runs only on the examples that have not
    stopped yet; an exit with an infinite threshold is skipped.

    Args:
        net: The chain of layers.
        ends: Index behind each block that gets an exit, [exits].
        sizes: Number of features that reach each exit, [exits]; see `exit_sizes`.
        grid: Cells on each side that feature maps are averaged to in front of an exit.
        outputs: Number of classes.
        confidence: What is compared with the threshold: the highest `probability`, or the negative `entropy`.

    Attributes:
        thresholds: Lowest confidence with which an example stops, one for each exit, [exits].
        entered: Number of examples that each block has run on so far in eval mode, [exits + 1].
    """

    def __init__(
        self,
        net: nn.Sequential,
        ends: list[int],
        sizes: list[int],
        grid: int,
        outputs: int,
        confidence: Literal["probability", "entropy"] = "probability",
    ):
        super().__init__()
        self.net, self.grid, self.edges, self.confidence = net, grid, [0, *ends, len(net)], CONFIDENCES[confidence]
        self.heads = nn.ModuleList(nn.Linear(size, outputs) for size in sizes)
        self.register_buffer("thresholds", torch.full((len(ends),), math.inf))
        self.entered = [0] * (len(ends) + 1)
        settings = {"ends": ends, "sizes": sizes, "grid": grid, "outputs": outputs, "confidence": confidence}
        self.wrapping = {"_target_": "mlbench.compress.adaptive.exit_network.Exits", **settings}
        self.replaced = {f"net.{path}": layer for path, layer in (getattr(net, "replaced", None) or {}).items()}

    def block(self, number: int, x: Tensor) -> Tensor:
        """The output of block `number`; there is one block more than exits."""
        return run_layers(self.net, self.edges[number], self.edges[number + 1], x)

    def head(self, number: int, x: Tensor) -> Tensor:
        """The logits [B, outputs] of exit `number` for `x`, the output of the block in front of it."""
        return self.heads[number](pooled(x, self.grid))

    def all_logits(self, x: Tensor) -> list[Tensor]:
        """The logits [B, outputs] of every exit, and those of the network's end last."""
        outputs = []
        for number in range(len(self.heads)):
            x = self.block(number, x)
            outputs.append(self.head(number, x))
        return [*outputs, self.block(len(self.heads), x)]

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits [B, outputs] of a batch [B, C, H, W], each example only up to its exit.

        A batch is indexed only where some of its examples stop and others do not: indexing costs time.
        """
        if self.training:
            return self.net(x)
        results = index = None  # logits so far, and the places of the examples still running, once some have stopped
        for number, threshold in enumerate(self.thresholds.tolist()):
            self.entered[number] += len(x)
            x = self.block(number, x)
            if threshold == math.inf:
                continue
            logits = self.head(number, x)
            confidence = self.confidence(logits)
            count = int(confidence.item() >= threshold) if len(x) == 1 else int((confidence >= threshold).sum())
            if count == len(x):
                return merged(results, index, logits)
            if count:
                if results is None:
                    results, index = torch.empty_like(logits), torch.arange(len(x), device=x.device)
                stops = confidence >= threshold
                results[index[stops]] = logits[stops]
                x, index = x[~stops], index[~stops]
        self.entered[-1] += len(x)
        return merged(results, index, self.block(len(self.heads), x))


def merged(results: Tensor | None, index: Tensor | None, logits: Tensor) -> Tensor:
    """The logits of the whole batch, with those of the last examples to stop put at their places `index`."""
    return logits if results is None else results.index_copy(0, index, logits)
