"""Mean and confidence interval of a number over runs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
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
    """Estimate the standard deviations of a one-way random-effects model of equally large groups.

    The variance of the group means contains a share of the variance within groups, which is subtracted.

    Args:
        groups: Values of each group, [groups][values per group], at least two of each.

    Returns:
        (standard deviation between groups, at least 0; standard deviation within groups).
    """
    within = fmean(variance(values) for values in groups)
    between = variance([fmean(values) for values in groups]) - within / len(groups[0])
    return math.sqrt(max(between, 0.0)), math.sqrt(within)


@cache
def quantile(freedom: int) -> float:
    """The 97.5 % quantile of Student's t distribution with so many degrees of freedom."""
    from scipy.special import stdtrit  # scipy.stats.t.ppf itself, which takes a second to import

    return float(stdtrit(freedom, 0.975))


def spread(values: Sequence[float]) -> Spread:
    """Mean and 95 % t interval of independent values (Student 1908): mean ± t(0.975, n - 1) · s / sqrt(n).

    Args:
        values: Numbers of any kind, also numpy's; one or more.

    Raises:
        ValueError: There is no value, or one that is not a finite number; no mean is defined then.
    """
    try:
        numbers = [float(value) for value in values]
        if not numbers or not all(map(math.isfinite, numbers)):
            raise ValueError(f"the mean of {numbers} is not defined: one or more finite numbers are needed")
        count = len(numbers)
        if count < 2:
            return Spread(numbers[0], None, count)
        half = quantile(count - 1) * stdev(numbers) / math.sqrt(count)
        return Spread(fmean(numbers), half, count)
    except OverflowError as error:
        raise ValueError("the mean or the interval of these numbers is beyond the range of floats") from error
