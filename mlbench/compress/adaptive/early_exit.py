"""Early exits: easy pictures leave after the first layers (network: exit_network.py, thresholds: exit_policy.py)."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from mlbench.compress.adaptive.exit_network import Exits, blocks, exit_sizes
from mlbench.compress.adaptive.exit_policy import Answers, affordable, cheapest, exit_taken, ways_out
from mlbench.compress.base import Finetuned, Point, Workbench
from mlbench.core.errors import UserError, require
from mlbench.core.statistics import spread
from mlbench.data.split import Batch, Split
from mlbench.runs.results import Panel, Row
from mlbench.training.learner import Learner

SHOWN = 12  # example pictures of each exit


@dataclass
class EarlyExit(Finetuned):
    """BranchyNet (Teerapittayanon et al. 2016): a classifier behind every block, all trained together (eq. 1).

    The losses of the exits have equal weights. An example leaves at the first exit that is sure enough: by the highest
    `probability`, or by the `entropy` of all, as in the paper. A budget is the share of the network's multiply-adds
    that an example may take on average; its thresholds are those with the best accuracy within it on the validation
    data, one an exit. The last point, `chosen`, is the cheapest whose validation accuracy is at most `tolerance` below
    that of the last exit. A network without a block to spare cannot be given an exit.
    """

    budgets: list[float]
    grid: int  # pictures are averaged to so many cells a side in front of an exit
    confidence: Literal["probability", "entropy"]
    tolerance: float

    def __post_init__(self):
        super().__post_init__()
        require(all(0 < share <= 1 for share in self.budgets), "budgets", self.budgets, "shares above 0 and up to 1")
        require(self.grid >= 1, "grid", self.grid, "1 or more")
        require(0 <= self.tolerance < 1, "tolerance", self.tolerance, "0 to below 1, a share of the examples")

    def check(self, net: nn.Module) -> None:
        """Only a chain of blocks can be left early."""
        if not isinstance(net, nn.Sequential) or len(blocks(net)) < 3:
            raise UserError(
                "compress=early_exit needs a chain of three layers with weights or more, as in model=lenet5"
            )

    def compress(self, dense: Point, bench: Workbench) -> Iterator[Point]:
        """The last exit alone, a point for each budget, and the chosen one."""
        ends, self.picture = blocks(dense.net)[:-2], bench.picture
        example = bench.validation.batch(torch.arange(1, device=bench.validation.labels.device)).x
        sizes = exit_sizes(dense.net, ends, self.grid, example)
        net = Exits(dense.net, ends, sizes, self.grid, bench.outputs, self.confidence)
        net = self.finetune(net.to(example.device), bench, "all exits", AllExits()).eval()
        answers = Answers.of(net, bench.validation)
        ways = ways_out(answers)
        stages = {f"budget {share:g}": affordable(ways, share * answers.full).thresholds for share in self.budgets}
        stages["chosen"] = cheapest(ways, answers.right[:, -1].double().mean().item() - self.tolerance).thresholds
        yield Point("last exit", net, dense.entropy, dense.blueprint)
        for stage, thresholds in stages.items():
            self.chosen = copy.deepcopy(net)
            self.chosen.thresholds.copy_(torch.tensor(thresholds))
            yield Point(stage, self.chosen, dense.entropy, dense.blueprint)

    def metrics(self, rows: list[dict[str, Any]], correct: np.ndarray) -> dict[str, float]:
        """The chosen point against the last exit: who leaves first, what is lost (95 % interval) and saved."""
        last, chosen = rows[1], rows[-1]
        lost = spread((correct[1].astype(float) - correct[-1]).tolist())
        interval = {}
        if lost.half is not None:  # more than one test example
            low, high = lost.mean - lost.half, lost.mean + lost.half
            interval = {"exit_error_increase_low": low, "exit_error_increase_high": high}
        return {
            "first_exit_share": 1 - chosen["entered"][1] / chosen["entered"][0],
            "exit_error_increase": lost.mean,
            **interval,
            "exit_macs_saved": last["macs"] / chosen["macs"],
            "exit_speedup": last["latency_ms"] / chosen["latency_ms"],
        }

    def grids(self, test: Split) -> dict[str, list[Row]]:
        """Pictures that leave the chosen network at each exit, the first ones of the test set."""
        answers = Answers.of(self.chosen, test)
        taken = exit_taken(answers.sure, self.chosen.thresholds.tolist())
        rows = []
        for number in range(answers.right.shape[1]):
            here = (taken == number).nonzero().flatten()
            if len(here):
                right = answers.right[here, number].double().mean()
                title = f"exit {number + 1}: {len(here) / len(test):.1%} of the pictures, {right:.1%} of them right"
                pictures = self.picture(test.batch(here[:SHOWN].to(test.labels.device)).x)  # [n, C, H, W]
                rows.append((title, [Panel(picture=picture) for picture in pictures]))
        return {"exits": rows}


class AllExits(Learner):
    """The sum of the cross-entropies of all exits."""

    def loss(self, net: Exits, batch: Batch) -> Tensor:
        """A number."""
        return sum(nn.functional.cross_entropy(logits, batch.y) for logits in net.all_logits(batch.x))
