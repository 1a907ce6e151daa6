"""Early exits: easy pictures leave after the first layers."""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mlbench.compress.base import Finetuned, Point, Workbench
from mlbench.data.tasks import Batch, Split
from mlbench.errors import SettingError, require
from mlbench.spread import spread
from mlbench.train import Learner

CHUNK = 500  # validation examples at once


@dataclass(kw_only=True)
class EarlyExit(Finetuned):
    """BranchyNet (Teerapittayanon et al. 2016): a classifier behind every block, all trained together (eq. 1).

    An example leaves at the first exit whose highest probability reaches the threshold. A budget is the share of the
    whole network's multiply-adds that an example may take on average; its threshold is the one with the best accuracy
    within it on the validation data. The last point, `chosen`, is the cheapest whose validation accuracy is at most
    `tolerance` below that of the last exit. A network without a block to spare cannot be given an exit.
    """

    budgets: list[float] = field(default_factory=lambda: [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    grid: int = field(default=4)  # pictures are averaged to so many cells a side in front of an exit
    tolerance: float = field(default=0.0)

    def __post_init__(self):
        super().__post_init__()
        require(all(0 < share <= 1 for share in self.budgets), "budgets", self.budgets, "shares above 0 and up to 1")
        require(self.grid >= 1, "grid", self.grid, "1 or more")
        require(0 <= self.tolerance < 1, "tolerance", self.tolerance, "0 to below 1, a share of the examples")

    def check(self, net: nn.Module) -> None:
        """Only a chain of blocks can be left early."""
        if not isinstance(net, nn.Sequential) or len(blocks(net)) < 3:
            raise SettingError("grid", self.grid, "for a chain of three layers with weights or more, as model=lenet5")

    def compress(self, dense: Point, bench: Workbench) -> Iterator[Point]:
        """The last exit alone, a point for each budget, and the chosen one."""
        ends = blocks(dense.net)[:-2]
        example = bench.validation.batch(torch.arange(1, device=bench.validation.labels.device)).x
        net = Exits(dense.net, ends, exit_sizes(dense.net, ends, self.grid, example), self.grid, bench.outputs)
        net = self.finetune(net.to(example.device), bench, "all exits", AllExits())
        choice = Choice(net, bench.validation)
        yield self.point("last exit", net, math.inf, dense)
        for budget in self.budgets:
            yield self.point(f"budget {budget:g}", net, choice.threshold(budget), dense)
        yield self.point("chosen", net, choice.cheapest(self.tolerance), dense)

    def point(self, stage: str, net: "Exits", threshold: float, dense: Point) -> Point:
        """A copy of the network with a threshold."""
        made = copy.deepcopy(net)
        made.threshold.fill_(threshold)
        return Point(stage, made, dense.entropy, dense.blueprint)

    def metrics(self, rows: list[dict[str, Any]], correct: np.ndarray) -> dict[str, float]:
        """The chosen point against the last exit: who leaves first, what is lost (95 % interval) and saved."""
        last, chosen = rows[1], rows[-1]
        lost = spread((correct[1].astype(float) - correct[-1]).tolist())
        return {
            "first_exit_share": 1 - chosen["entered"][1] / chosen["entered"][0],
            "exit_error_increase": lost.mean,
            "exit_error_increase_low": lost.mean - lost.half,
            "exit_error_increase_high": lost.mean + lost.half,
            "exit_macs_saved": last["macs"] / chosen["macs"],
            "exit_speedup": last["latency_ms"] / chosen["latency_ms"],
        }


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
    if x.ndim == 2:
        return x
    return nn.functional.adaptive_avg_pool2d(x, [min(grid, side) for side in x.shape[2:]]).flatten(1)


class Exits(nn.Module):
    """A chain of blocks with a linear classifier behind some of them.

    In training mode it is the whole chain; in eval mode each block runs on the examples that have not left.
    `entered` counts them, block by block.
    """

    def __init__(self, net: nn.Sequential, ends: list[int], sizes: list[int], grid: int, outputs: int):
        super().__init__()
        self.net, self.grid, self.ends = net, grid, ends
        self.heads = nn.ModuleList(nn.Linear(size, outputs) for size in sizes)
        self.register_buffer("threshold", torch.tensor(math.inf))
        self.entered = [0] * (len(ends) + 1)
        about = {"ends": ends, "sizes": sizes, "grid": grid, "outputs": outputs}
        self.wrapping = {"_target_": "mlbench.compress.early_exit.Exits", **about}

    def block(self, number: int, x: Tensor) -> Tensor:
        """What comes out of a block, of which there is one more than exits."""
        edges = [0, *self.ends, len(self.net)]
        return through(self.net, edges[number], edges[number + 1], x)

    def all_logits(self, x: Tensor) -> list[Tensor]:
        """The outputs [B, outputs] of every exit, the last one's at the end."""
        found = []
        for number, head in enumerate(self.heads):
            x = self.block(number, x)
            found.append(head(averaged(x, self.grid)))
        return [*found, self.block(len(self.heads), x)]

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, outputs]."""
        if self.training:
            return self.net(x)
        found = x.new_empty(len(x), self.wrapping["outputs"])
        index = torch.arange(len(x), device=x.device)  # who is still here
        for number, head in enumerate(self.heads):
            self.entered[number] += len(x)
            x = self.block(number, x)
            logits = head(averaged(x, self.grid))
            leaves = confidence(logits) >= self.threshold
            if leaves.all():
                found[index] = logits
                return found
            found[index[leaves]] = logits[leaves]
            x, index = x[~leaves], index[~leaves]
        self.entered[-1] += len(x)
        found[index] = self.block(len(self.heads), x)
        return found


def confidence(logits: Tensor) -> Tensor:
    """The highest probability [B]."""
    return logits.softmax(1).amax(1)


class AllExits(Learner):
    """The sum of the cross-entropies of all exits."""

    def loss(self, net: Exits, batch: Batch) -> Tensor:
        """A number."""
        return sum(nn.functional.cross_entropy(logits, batch.y) for logits in net.all_logits(batch.x))


class Choice:
    """Thresholds from validation data."""

    @torch.no_grad()
    def __init__(self, net: Exits, validation: Split):
        logits, right = [], []
        for index in torch.arange(len(validation), device=validation.labels.device).split(CHUNK):
            batch = validation.batch(index)
            found = net.all_logits(batch.x)
            logits.append(torch.stack([confidence(each) for each in found[:-1]], 1))
            right.append(torch.stack([each.argmax(1) == batch.y for each in found], 1))
        self.sure, self.right = torch.cat(logits).cpu(), torch.cat(right).cpu()  # [N, exits], [N, exits + 1]
        self.costs = exit_costs(net, batch.x[:1])  # [exits + 1]
        levels = self.sure.flatten().double().quantile(torch.linspace(0, 1, 401, dtype=torch.double))
        self.levels = [*levels.tolist(), math.inf]
        self.outcomes = [self.outcome(level) for level in self.levels]  # (accuracy, share of the multiply-adds)

    def outcome(self, threshold: float) -> tuple[float, float]:
        """(accuracy, mean cost as a share of the last exit's) with a threshold."""
        leaves = torch.cat([self.sure >= threshold, torch.ones(len(self.sure), 1, dtype=torch.bool)], 1)
        exits = leaves.int().argmax(1)  # the first
        right = self.right.gather(1, exits[:, None]).double().mean().item()
        return right, (self.costs[exits].mean() / self.costs[-1]).item()

    def threshold(self, budget: float) -> float:
        """The one with the best accuracy within a budget; where none is within it, the cheapest."""
        within = [i for i, (_, cost) in enumerate(self.outcomes) if cost <= budget]
        if not within:
            return min(zip(self.levels, self.outcomes, strict=True), key=lambda pair: pair[1][1])[0]
        return self.levels[max(within, key=lambda i: (self.outcomes[i][0], -self.outcomes[i][1]))]

    def cheapest(self, tolerance: float) -> float:
        """The cheapest one at most `tolerance` below the accuracy of the last exit."""
        needed = self.outcome(math.inf)[0] - tolerance
        enough = [i for i, (right, _) in enumerate(self.outcomes) if right >= needed - 1e-12]
        return self.levels[min(enough, key=lambda i: self.outcomes[i][1])]


@torch.no_grad()
def exit_costs(net: Exits, example: Tensor) -> Tensor:
    """Multiply-adds up to each exit, those of the exits before it included, for one example: [exits + 1]."""
    x, costs = example, []
    with FlopCounterMode(display=False) as counter:
        for number, head in enumerate(net.heads):
            x = net.block(number, x)
            head(averaged(x, net.grid))
            costs.append(counter.get_total_flops() / 2)
        net.block(len(net.heads), x)
        costs.append(counter.get_total_flops() / 2)
    return torch.tensor(costs, dtype=torch.double)
