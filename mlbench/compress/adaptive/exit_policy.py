"""The exit policy: how confident an exit must be for an example to stop there, chosen on validation data."""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from mlbench.compress.adaptive.exit_network import Exits
from mlbench.core.pareto import pareto_front
from mlbench.data.split import Split
from mlbench.training.mac_counter import MacCounter

BATCH_SIZE = 500  # examples
QUANTILES = 101  # candidate thresholds of an exit
MAX_POLICIES = 64  # partial policies carried from one exit to the exit before it


@dataclass
class ExitPredictions:
    """What every exit of a network predicts for every example, whether the example stops there or not.

    Attributes:
        confidence: Confidence of each exit but the last, [N, exits].
        correct: Whether each exit's prediction is correct, bool [N, exits + 1]; the network's own output comes last.
        block_macs: Multiply-adds of each block for one example, [exits + 1].
        head_macs: Multiply-adds of the classifier behind each block but the last, [exits].
    """

    confidence: Tensor
    correct: Tensor
    block_macs: list[float]
    head_macs: list[float]

    @property
    def total_macs(self) -> float:
        """Multiply-adds of the network without exits, for one example."""
        return sum(self.block_macs)

    @staticmethod
    @torch.no_grad()
    def of(net: Exits, split: Split) -> "ExitPredictions":
        """Run `net`, which is in eval mode, on all of `split`, every example through every exit."""
        confidence, correct = [], []
        for index in split.chunks(BATCH_SIZE):
            batch = split.batch(index)
            outputs = net.all_logits(batch.x)
            confidence.append(torch.stack([net.confidence(logits) for logits in outputs[:-1]], 1))
            correct.append(torch.stack([logits.argmax(1) == batch.y for logits in outputs], 1))
        return ExitPredictions(torch.cat(confidence).cpu(), torch.cat(correct).cpu(), *count_macs(net, batch.x[:1]))


@torch.no_grad()
def count_macs(net: Exits, x: Tensor) -> tuple[list[float], list[float]]:
    """Count the multiply-adds of each block and of each exit's classifier for the single example `x` [1, ...].

    Returns:
        The multiply-adds of the blocks, [exits + 1], and of the classifiers, [exits].
    """
    totals = [0]
    with MacCounter(net) as counter:
        for number in range(len(net.heads)):
            x = net.block(number, x)
            totals.append(counter.total)
            net.head(number, x)
            totals.append(counter.total)
        net.block(len(net.heads), x)
        totals.append(counter.total)
    steps = [float(after - before) for before, after in pairwise(totals)]
    return steps[::2], steps[1::2]


@dataclass
class ExitPolicy:
    """The thresholds of an exit and of all exits behind it, and their effect on examples that reach that exit.

    Attributes:
        thresholds: Lowest confidence with which an example stops, for each of these exits; infinite: it never does.
        correct: Whether the prediction is correct, bool [N].
        macs: Multiply-adds from there on, [N].
        accuracy: Share of correct predictions.
        mean_macs: Mean of `macs`.
    """

    thresholds: list[float]
    correct: Tensor
    macs: Tensor

    def __post_init__(self):
        self.accuracy, self.mean_macs = self.correct.double().mean().item(), self.macs.mean().item()


def pareto_policies(predictions: ExitPredictions) -> list[ExitPolicy]:
    """Search for exit policies with the best accuracy at each cost.

    The search goes from the last exit to the first: an example that does not stop at an exit follows one of the
    policies already found for the exits behind it. The result is close to optimal, not optimal: each exit tries
    `QUANTILES` thresholds, at most `MAX_POLICIES` partial policies are carried on, and those are ranked on all
    examples, not only on the ones that would reach the exit.

    Args:
        predictions: Predictions of all exits on validation data.

    Returns:
        Policies for all exits on the Pareto front of mean multiply-adds and accuracy, the cheapest first.
    """
    last = torch.full((len(predictions.correct),), predictions.block_macs[-1], dtype=torch.double)
    policies = [ExitPolicy([], predictions.correct[:, -1], last)]
    for number in reversed(range(len(predictions.head_macs))):
        front: list[ExitPolicy] = []
        for policy in policies:
            front = on_front([*front, *extensions(policy, predictions, number)])
        policies = evenly_spaced(front)
    return policies


def extensions(policy: ExitPolicy, predictions: ExitPredictions, number: int) -> list[ExitPolicy]:
    """Extend a policy for the exits behind exit `number` by every candidate threshold of that exit."""
    confidence, correct = predictions.confidence[:, number], predictions.correct[:, number]
    block, head = predictions.block_macs[number], predictions.head_macs[number]
    quantiles = torch.linspace(0, 1, QUANTILES, dtype=torch.double)
    extended = [ExitPolicy([math.inf, *policy.thresholds], policy.correct, policy.macs + block)]  # exit not used
    for threshold in confidence.double().quantile(quantiles).float().unique().tolist():
        stops = confidence >= threshold
        macs = block + head + policy.macs * ~stops
        extended.append(ExitPolicy([threshold, *policy.thresholds], torch.where(stops, correct, policy.correct), macs))
    return extended


def on_front(policies: list[ExitPolicy]) -> list[ExitPolicy]:
    """The policies on the Pareto front of mean multiply-adds and accuracy, the cheapest first."""
    front = pareto_front([policy.mean_macs for policy in policies], [policy.accuracy for policy in policies])
    return [policies[index] for index in front]


def evenly_spaced(policies: list[ExitPolicy]) -> list[ExitPolicy]:
    """At most `MAX_POLICIES` of them at even distances, the first and the last included."""
    if len(policies) <= MAX_POLICIES:
        return policies
    return [policies[round(i * (len(policies) - 1) / (MAX_POLICIES - 1))] for i in range(MAX_POLICIES)]


def best_within(policies: list[ExitPolicy], macs: float) -> ExitPolicy:
    """The most accurate policy with at most `macs` multiply-adds on average; the cheapest where none is that cheap."""
    return max((p for p in policies if p.mean_macs <= macs), key=lambda policy: policy.accuracy, default=policies[0])


def cheapest(policies: list[ExitPolicy], accuracy: float) -> ExitPolicy:
    """The first of the policies, which are sorted by cost, with at least that accuracy."""
    return next(policy for policy in policies if policy.accuracy >= accuracy - 1e-12)


def exit_index(confidence: Tensor, thresholds: list[float]) -> Tensor:
    """The index of the exit at which each example stops.

    Args:
        confidence: Confidence of each exit but the last, [N, exits].
        thresholds: Lowest confidence with which an example stops, [exits].

    Returns:
        Integers [N] from 0 to the number of exits; the highest is the end of the network.
    """
    goes_on = torch.stack([column < level for column, level in zip(confidence.T, thresholds, strict=True)], 1)
    return goes_on.int().cumprod(1).sum(1)
