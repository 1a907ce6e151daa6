"""The Pareto front of points that have a cost and a gain."""

from collections.abc import Sequence

import numpy as np


def pareto_front(costs: Sequence[float], gains: Sequence[float]) -> list[int]:
    """Return the points that no other point matches or beats in both cost and gain.

    Of points with the same cost and the same gain only the first is on the front.

    Args:
        costs: Cost of each point, [n]; lower is better.
        gains: Gain of each point, [n]; higher is better.

    Returns:
        Indices of the points on the front, cheapest first; their gains increase strictly.
    """
    front: list[int] = []
    for index in np.lexsort((-np.asarray(gains), np.asarray(costs))):
        if not front or gains[index] > gains[front[-1]]:
            front.append(int(index))
    return front
