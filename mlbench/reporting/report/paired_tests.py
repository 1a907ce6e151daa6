"""Paired t tests between settings over the seeds they share, corrected for their number. No torch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlbench.reporting.report.grouping import Comparison, differences

SIGNIFICANCE_LEVEL = 0.05
PAIRS = 20_000  # of one comparison


@dataclass(slots=True)
class PairedTest:
    """Two settings on one metric: the mean difference (one minus other) over `seeds` shared seeds, half its 95 %
    interval, and p, also after Holm's correction for all pairs on that metric in the comparison."""

    one: int  # places in the comparison's list of settings
    other: int
    metric: str
    difference: float
    half: float
    seeds: int
    p: float
    holm: float


def too_many(comparison: Comparison) -> bool:
    """Whether there are more pairs of settings than are tested."""
    return len(comparison.settings) * (len(comparison.settings) - 1) // 2 > PAIRS


def pairwise_tests(comparison: Comparison) -> list[PairedTest]:
    """Every pair that differs only in the technique or in one setting and shares two seeds, on each headline metric.

    Of more than PAIRS pairs only those with the best setting, the first one, are tested: nobody reads the others, and
    corrected for so many none of them finds anything. Pairs whose differences are the same for all seeds have no spread
    to be tested against and are left out.
    """
    settings = comparison.settings
    pairs = [
        (one, other)
        for one in range(1 if too_many(comparison) else len(settings))
        for other in range(one + 1, len(settings))
        if len(settings[one].runs.keys() & settings[other].runs.keys()) > 1
        and len(differences(settings[one], settings[other])) == 1
    ]
    if not pairs:
        return []
    seeds = sorted({seed for setting in settings for seed in setting.runs})
    tests = []
    for metric in comparison.metrics:
        values = np.full((len(settings), len(seeds)), np.nan)  # [settings, seeds]
        for place, setting in enumerate(settings):
            for seed, value in setting.values(metric).items():
                values[place, seeds.index(seed)] = value
        tests += on_metric(metric, pairs, values)
    return tests


def on_metric(metric: str, pairs: Sequence[tuple[int, int]], values: np.ndarray) -> list[PairedTest]:
    """The tests of one metric; `values` [settings, seeds] are NaN where a setting has no such run."""
    from scipy.special import stdtr, stdtrit  # scipy.stats.t, which takes a second to import, computes with these

    one, other = np.array(pairs).T
    gaps = values[one] - values[other]  # [pairs, seeds]
    count = (~np.isnan(gaps)).sum(1)
    usable = count > 1
    one, other, gaps, count = one[usable], other[usable], gaps[usable], count[usable]
    mean = np.nansum(gaps, 1) / count
    error = np.sqrt(np.nansum((gaps - mean[:, None]) ** 2, 1) / (count - 1) / count)
    usable = error > 1e-12 * np.maximum(1, np.abs(mean))
    one, other, count, mean, error = one[usable], other[usable], count[usable], mean[usable], error[usable]
    p = 2 * stdtr(count - 1, -np.abs(mean) / error)
    half = stdtrit(count - 1, 0.975) * error
    columns = (one, other, mean, half, count, p, holm(p))
    return [
        PairedTest(int(a), int(b), metric, float(gap), float(reach), int(n), float(q), float(corrected))
        for a, b, gap, reach, n, q, corrected in zip(*columns, strict=True)
    ]


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's step-down correction (1979): the smallest of m counts m times, the next m - 1 times, never descending."""
    order = np.argsort(p)
    corrected = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return corrected[np.argsort(order)]
