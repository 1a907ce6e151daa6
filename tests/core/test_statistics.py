"""Mean and interval of numbers over runs, against scipy."""

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from mlbench.core.statistics import spread


@pytest.mark.parametrize(
    "values", [[0.5, 0.7], [1, 2, 4, 8], [3.0] * 4, [-1e-9, 1e-9, 0.0], [np.float32(0.5), np.int64(2), Fraction(1, 3)]]
)
def test_the_interval_is_that_of_t(values):
    found = spread(values)
    plain = [float(value) for value in values]
    if len(set(plain)) == 1:
        assert (found.mean, found.half) == (plain[0], 0.0)
        return
    low, high = stats.t.interval(0.95, len(plain) - 1, loc=np.mean(plain), scale=stats.sem(plain))
    assert found.mean - found.half == pytest.approx(low, rel=1e-9)
    assert found.mean + found.half == pytest.approx(high, rel=1e-9)
    assert (type(found.mean), type(found.half), found.count) == (float, float, len(plain))


def test_a_single_value_has_no_interval():
    assert (spread([0.5]).mean, spread([0.5]).half, spread(np.array([2])).count) == (0.5, None, 1)


@pytest.mark.parametrize(
    "values",
    [[], [math.nan, 0.5], [0.5, math.inf], [math.nan], [10**400, 1], [1e308, 1e308, 1e308], [np.float32("nan")]],
)
def test_what_has_no_mean_is_refused(values):
    with pytest.raises(ValueError, match=r"is not defined|beyond the range"):
        spread(values)
