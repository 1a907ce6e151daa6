"""Who leaves at which exit: thresholds from validation data, by accuracy and multiply-adds."""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from mlbench.compress.adaptive.exit_network import Exits
from mlbench.data.split import Split

AT_ONCE = 500  # examples at once
LEVELS = 101  # thresholds tried at an exit
WAYS = 64  # partial choices that are kept


@dataclass
class Answers:
    """What every exit of a network says about every example, whether it leaves there or not."""

    sure: Tensor  # [N, exits]
    right: Tensor  # [N, exits + 1] bool, the last exit at the end
    blocks: list[float]  # [exits + 1] multiply-adds of each block for an example
    heads: list[float]  # [exits] of the classifier behind it

    @property
    def full(self) -> float:
        """Multiply-adds of the network without exits."""
        return sum(self.blocks)

    @staticmethod
    @torch.no_grad()
    def of(net: Exits, split: Split) -> "Answers":
        """Those of a network in eval mode."""
        sure, right = [], []
        for index in split.chunks(AT_ONCE):
            batch = split.batch(index)
            found = net.all_logits(batch.x)
            sure.append(torch.stack([net.confidence(each) for each in found[:-1]], 1))
            right.append(torch.stack([each.argmax(1) == batch.y for each in found], 1))
        return Answers(torch.cat(sure).cpu(), torch.cat(right).cpu(), *part_costs(net, batch.x[:1]))


@torch.no_grad()
def part_costs(net: Exits, x: Tensor) -> tuple[list[float], list[float]]:
    """Multiply-adds of each block, and of each exit, for one example."""
    totals = [0.0]
    with FlopCounterMode(display=False) as counter:
        for number in range(len(net.heads)):
            x = net.block(number, x)
            totals.append(counter.get_total_flops() / 2)
            net.head(number, x)
            totals.append(counter.get_total_flops() / 2)
        net.block(len(net.heads), x)
        totals.append(counter.get_total_flops() / 2)
    steps = [after - before for before, after in pairwise(totals)]
    return steps[::2], steps[1::2]


@dataclass
class Way:
    """Thresholds of the exits from one on, and what comes of them for examples that get there."""

    thresholds: list[float]
    right: Tensor  # [N] bool
    cost: Tensor  # [N] multiply-adds still to come

    def __post_init__(self):
        self.accuracy, self.mean_cost = self.right.double().mean().item(), self.cost.mean().item()


def ways_out(answers: Answers) -> list[Way]:
    """Choices of thresholds that no other one found beats in cost and accuracy, the cheapest first.

    From the last exit to the first: whoever does not leave at an exit goes one of the ways found behind it. Close to
    the best, not the best: `LEVELS` are tried at each exit, `WAYS` are kept, and these are judged on all examples, not
    on those that will get there.
    """
    count = len(answers.right)
    ways = [Way([], answers.right[:, -1], torch.full((count,), answers.blocks[-1], dtype=torch.double))]
    for number in reversed(range(len(answers.heads))):
        sure, right = answers.sure[:, number], answers.right[:, number]
        levels = sure.double().quantile(torch.linspace(0, 1, LEVELS, dtype=torch.double)).float().unique()
        found: list[Way] = []
        for way in ways:
            passed_by = Way([math.inf, *way.thresholds], way.right, way.cost + answers.blocks[number])
            made = [passed_by]
            for level in levels.tolist():
                leaves = sure >= level
                cost = answers.blocks[number] + answers.heads[number] + way.cost * ~leaves
                made.append(Way([level, *way.thresholds], torch.where(leaves, right, way.right), cost))
            found = front([*found, *made])
        ways = thinned(found)
    return ways


def front(ways: list[Way]) -> list[Way]:
    """In order of cost, each more accurate than all cheaper ones."""
    kept: list[Way] = []
    for way in sorted(ways, key=lambda way: (way.mean_cost, -way.accuracy)):
        if not kept or way.accuracy > kept[-1].accuracy:
            kept.append(way)
    return kept


def thinned(ways: list[Way]) -> list[Way]:
    """At most WAYS of them, evenly spaced, the first and the last among them."""
    if len(ways) <= WAYS:
        return ways
    return [ways[round(i * (len(ways) - 1) / (WAYS - 1))] for i in range(WAYS)]


def affordable(ways: list[Way], cost: float) -> Way:
    """The most accurate one within a mean cost; where none is within it, the cheapest."""
    return max((way for way in ways if way.mean_cost <= cost), key=lambda way: way.accuracy, default=ways[0])


def cheapest(ways: list[Way], accuracy: float) -> Way:
    """The cheapest one with at least that accuracy."""
    return next(way for way in ways if way.accuracy >= accuracy - 1e-12)


def exit_taken(sure: Tensor, thresholds: list[float]) -> Tensor:
    """The number [N] of the exit, from 0, at which each example leaves, given how sure [N, exits] it is at each."""
    stays = torch.stack([column < level for column, level in zip(sure.T, thresholds, strict=True)], 1)
    return stays.int().cumprod(1).sum(1)
