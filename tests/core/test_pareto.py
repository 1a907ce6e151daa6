"""The Pareto front against its definition."""

import numpy as np
import pytest

from mlbench.core.pareto import pareto_front


def dominates(one, other):
    """Whether the point (cost, gain) `one` is at least as good as `other` in both, and better in one."""
    return one[0] <= other[0] and one[1] >= other[1] and one != other


@pytest.mark.parametrize("seed", range(20))
def test_the_front_is_that_of_a_brute_force_search(seed):
    draws = np.random.default_rng(seed)
    points = [(int(cost), int(gain)) for cost, gain in draws.integers(0, 8, (30, 2))]  # few values, so many ties
    expected = sorted({p for p in points if not any(dominates(other, p) for other in points)})
    front = pareto_front(*zip(*points, strict=True))
    assert [points[index] for index in front] == expected
    assert all(index == points.index(points[index]) for index in front)


def test_no_points_have_no_front():
    assert pareto_front([], []) == []


def test_the_front_by_hand():
    costs, gains = np.array([5.0, 1, 3, 4, 2, 1]), np.array([0.9, 0.5, 0.8, 0.7, 0.5, 0.4])
    assert pareto_front(costs, gains) == [1, 2, 0]
