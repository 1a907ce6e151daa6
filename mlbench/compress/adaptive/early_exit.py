"""Early exits: easy examples stop after the first layers (network: exit_network.py, thresholds: exit_policy.py)."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from mlbench.compress.adaptive.exit_network import Exits, blocks, exit_sizes
from mlbench.compress.adaptive.exit_policy import ExitPredictions, best_within, cheapest, exit_index, pareto_policies
from mlbench.compress.base import Context, Finetuned, Point
from mlbench.core.errors import UserError, require
from mlbench.core.statistics import spread
from mlbench.data.split import Batch, Split
from mlbench.runs.results import Panel, Row
from mlbench.training.learner import Learner
from mlbench.training.losses import weighted_cross_entropy

EXAMPLES_PER_EXIT = 12  # in the figure


@dataclass
class EarlyExit(Finetuned):
    """BranchyNet (Teerapittayanon et al. 2016): a classifier behind every block, all trained together (eq. 1).

    An example stops at the first exit whose confidence reaches its threshold. The thresholds are chosen on the
    validation data. The last point, `chosen`, is the cheapest exit policy whose validation accuracy is at most
    `tolerance` below that of the last exit.

    Unlike the paper, the losses of all exits have equal weights, and the thresholds are searched for (exit_policy.py).

    Args:
        budgets: Shares of the network's multiply-adds that an example may take on average; one point for each, with
            the best validation accuracy within the budget.
        grid: Cells on each side that feature maps are averaged to in front of an exit.
        confidence: The highest `probability`, or the `entropy` of all classes as in the paper.
        tolerance: Validation accuracy, between 0 and 1, that `chosen` may lose against the last exit.
    """

    budgets: list[float]
    grid: int
    confidence: Literal["probability", "entropy"]
    tolerance: float

    def __post_init__(self):
        super().__post_init__()
        require(all(0 < share <= 1 for share in self.budgets), "budgets", self.budgets, "shares above 0 and up to 1")
        require(self.grid >= 1, "grid", self.grid, "1 or more")
        require(0 <= self.tolerance < 1, "tolerance", self.tolerance, "0 to below 1, a share of the examples")

    def check(self, net: nn.Module) -> None:
        """Raise UserError unless the network is a chain of three blocks or more."""
        if not isinstance(net, nn.Sequential) or len(blocks(net)) < 3:
            raise UserError(
                "compress=early_exit needs a chain of three layers with weights or more, as in model=lenet5"
            )

    def compress(self, dense: Point, context: Context) -> Iterator[Point]:
        """Yield the last exit alone, a point for each budget, and the chosen policy."""
        ends, self.picture = blocks(dense.net)[:-2], context.picture
        example = context.validation.batch(torch.arange(1, device=context.validation.labels.device)).x
        sizes = exit_sizes(dense.net, ends, self.grid, example)
        net = Exits(dense.net, ends, sizes, self.grid, context.outputs, self.confidence)
        net = self.finetune(net.to(example.device), context, "all exits", AllExits()).eval()
        predictions = ExitPredictions.of(net, context.validation)
        policies, total = pareto_policies(predictions), predictions.total_macs
        stages = {f"budget {share:g}": best_within(policies, share * total) for share in self.budgets}
        accuracy = predictions.correct[:, -1].double().mean().item()  # of the last exit
        stages["chosen"] = cheapest(policies, accuracy - self.tolerance)
        yield Point("last exit", net, dense.entropy, dense.blueprint)
        for stage, policy in stages.items():
            self.chosen = copy.deepcopy(net)
            self.chosen.thresholds.copy_(torch.tensor(policy.thresholds))
            yield Point(stage, self.chosen, dense.entropy, dense.blueprint)

    def metrics(self, rows: list[dict[str, Any]], correct: np.ndarray) -> dict[str, float]:
        """Compare the chosen policy with the last exit alone.

        Returns:
            `first_exit_share`, the share of test examples that stop at the first exit; `exit_error_increase` with its
            95 % interval over test examples; `exit_macs_saved` and `exit_speedup`, both ratios.
        """
        last, chosen = rows[1], rows[-1]
        increase = spread((correct[1].astype(float) - correct[-1]).tolist())
        interval = {}
        if increase.half is not None:  # more than one test example
            low, high = increase.mean - increase.half, increase.mean + increase.half
            interval = {"exit_error_increase_low": low, "exit_error_increase_high": high}
        return {
            "first_exit_share": 1 - chosen["entered"][1] / chosen["entered"][0],
            "exit_error_increase": increase.mean,
            **interval,
            "exit_macs_saved": last["macs"] / chosen["macs"],
            "exit_speedup": last["latency_ms"] / chosen["latency_ms"],
        }

    def grids(self, test: Split) -> dict[str, list[Row]]:
        """For each exit of the chosen policy, the first test examples that stop there."""
        predictions = ExitPredictions.of(self.chosen, test)
        exits = exit_index(predictions.confidence, self.chosen.thresholds.tolist())
        rows = []
        for number in range(predictions.correct.shape[1]):
            here = (exits == number).nonzero().flatten()
            if len(here):
                accuracy = predictions.correct[here, number].double().mean()
                title = f"exit {number + 1}: {len(here) / len(test):.1%} of the pictures, {accuracy:.1%} of them right"
                pictures = self.picture(test.batch(here[:EXAMPLES_PER_EXIT].to(test.labels.device)).x)  # [n, C, H, W]
                rows.append((title, [Panel(picture=picture) for picture in pictures]))
        return {"exits": rows}


class AllExits(Learner):
    """Train all exits at once: the loss is the sum of their cross-entropies."""

    def loss(self, net: Exits, batch: Batch) -> Tensor:
        """The sum of the cross-entropies of all exits, a scalar."""
        return sum(weighted_cross_entropy(logits, batch.y, self.class_weights) for logits in net.all_logits(batch.x))
