"""Mean and confidence interval of a number over runs."""

import math
from dataclasses import dataclass
from statistics import fmean, stdev, variance


@dataclass
class Spread:
    """Mean of a metric over runs, and half the width of its 95 % confidence interval (None for a single run)."""

    mean: float
    half: float | None
    count: int

    def __str__(self) -> str:
        return f"{self.mean:.3f}" if self.half is None else f"{self.mean:.3f} ± {self.half:.3f}"


def components(groups: list[list[float]]) -> tuple[float, float]:
    """Standard deviations (between groups, within them) of equally large groups: a one-way random-effects model.

    The variance of the groups' means holds a share of the variance within, which is taken off; never below 0.
    """
    within = fmean(variance(values) for values in groups)
    between = variance([fmean(values) for values in groups]) - within / len(groups[0])
    return math.sqrt(max(between, 0.0)), math.sqrt(within)


def spread(values: list[float]) -> Spread:
    """Mean and t interval of independent values."""
    from scipy.stats import t  # slow to import, and only tables over runs need it

    count = len(values)
    if count < 2:
        return Spread(values[0], None, count)
    half = float(t.ppf(0.975, count - 1)) * stdev(values) / math.sqrt(count)
    return Spread(fmean(values), half, count)
