"""A chain of blocks with exits behind some of them; whoever has left is not computed any further."""

import math
from itertools import islice
from typing import Literal

import torch
from torch import Tensor, nn


def blocks(net: nn.Sequential) -> list[int]:
    """Where each block ends (the index behind it): before the next layer with weights."""
    heavy = [i for i, layer in enumerate(net) if any(p.ndim > 1 for p in layer.parameters())]
    return [*heavy[1:], len(net)]


@torch.no_grad()
def exit_sizes(net: nn.Sequential, ends: list[int], grid: int, example: Tensor) -> list[int]:
    """How many values reach each exit."""
    return [averaged(through(net.eval(), 0, end, example), grid).shape[1] for end in ends]


def through(net: nn.Sequential, start: int, end: int, x: Tensor) -> Tensor:
    """The layers from `start` to before `end`."""
    for layer in islice(net, start, end):
        x = layer(x)
    return x


def averaged(x: Tensor, grid: int) -> Tensor:
    """[B, C, H, W] as means over at most grid x grid cells, flat; [B, N] as it is."""
    if max(x.shape[2:], default=0) <= grid:  # there is nothing to average
        return x.flatten(1)
    return nn.functional.adaptive_avg_pool2d(x, [min(grid, side) for side in x.shape[2:]]).flatten(1)


def probability(logits: Tensor) -> Tensor:
    """The highest probability [B]."""
    return logits.softmax(1).amax(1)


def negative_entropy(logits: Tensor) -> Tensor:
    """The sum of p log p [B]: 0 where one class has it all."""
    logs = logits.log_softmax(1)
    return (logs.exp() * logs).sum(1)


CONFIDENCES = {"probability": probability, "entropy": negative_entropy}


class Exits(nn.Module):
    """A chain of blocks with a linear classifier behind some of them; `thresholds` [exits] say who leaves.

    In training mode it is the whole chain; in eval mode each block runs on the examples that have not left, and an exit
    with an infinite threshold is passed by. `entered` counts the examples, block by block.
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
        about = {"ends": ends, "sizes": sizes, "grid": grid, "outputs": outputs, "confidence": confidence}
        self.wrapping = {"_target_": "mlbench.compress.adaptive.exit_network.Exits", **about}
        self.replaced = {f"net.{path}": layer for path, layer in (getattr(net, "replaced", None) or {}).items()}

    def block(self, number: int, x: Tensor) -> Tensor:
        """What comes out of a block, of which there is one more than exits."""
        return through(self.net, self.edges[number], self.edges[number + 1], x)

    def head(self, number: int, x: Tensor) -> Tensor:
        """The outputs of the exit behind a block."""
        return self.heads[number](averaged(x, self.grid))

    def all_logits(self, x: Tensor) -> list[Tensor]:
        """The outputs [B, outputs] of every exit, the last one's at the end."""
        found = []
        for number in range(len(self.heads)):
            x = self.block(number, x)
            found.append(self.head(number, x))
        return [*found, self.block(len(self.heads), x)]

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, outputs]. A single example, or a batch that stays together, is never indexed."""
        if self.training:
            return self.net(x)
        found = index = None  # answers so far, and who is still here, once some have left
        for number, threshold in enumerate(self.thresholds.tolist()):
            self.entered[number] += len(x)
            x = self.block(number, x)
            if threshold == math.inf:
                continue
            logits = self.head(number, x)
            sure = self.confidence(logits)
            leaving = int(sure.item() >= threshold) if len(x) == 1 else int((sure >= threshold).sum())
            if leaving == len(x):
                return placed(found, index, logits)
            if leaving:
                if found is None:
                    found, index = torch.empty_like(logits), torch.arange(len(x), device=x.device)
                leaves = sure >= threshold
                found[index[leaves]] = logits[leaves]
                x, index = x[~leaves], index[~leaves]
        self.entered[-1] += len(x)
        return placed(found, index, self.block(len(self.heads), x))


def placed(found: Tensor | None, index: Tensor | None, logits: Tensor) -> Tensor:
    """The answers of all, given those of the last to leave."""
    return logits if found is None else found.index_copy(0, index, logits)
