import numpy as np
import pytest
import scipy.stats

from mlbench.core.statistics import components, spread
from mlbench.lifelong.metrics import compared_with_cumulative, compared_with_joint, scores

# three tasks; columns are tasks, row 0 the untrained network
R = [
    [0.10, 0.20, 0.30],
    [0.90, 0.25, 0.10],
    [0.50, 0.80, 0.40],
    [0.60, 0.70, 1.00],
]


def test_every_formula_by_hand():
    result = scores(R)
    assert result["average_accuracy"] == pytest.approx((0.6 + 0.7 + 1.0) / 3)
    assert result["learning_accuracy"] == pytest.approx((0.9 + 0.8 + 1.0) / 3)
    assert result["backward_transfer"] == pytest.approx(((0.6 - 0.9) + (0.7 - 0.8)) / 2)
    assert result["forward_transfer"] == pytest.approx(((0.25 - 0.20) + (0.40 - 0.30)) / 2)
    assert result["forgetting"] == pytest.approx(((0.9 - 0.6) + (0.8 - 0.7)) / 2)


def test_forgetting_is_not_minus_backward_transfer():
    """The best accuracy may come before or after a task's own turn."""
    result = scores([[0.1, 0.1, 0.1], [0.5, 0.1, 0.1], [0.8, 0.9, 0.1], [0.6, 0.7, 0.9]])
    assert result["backward_transfer"] == pytest.approx(((0.6 - 0.5) + (0.7 - 0.9)) / 2)
    assert result["forgetting"] == pytest.approx(((0.8 - 0.6) + (0.9 - 0.7)) / 2)


def test_forgetting_leaves_the_untrained_network_out():
    assert scores([[0.9, 0.1], [0.5, 0.1], [0.4, 0.6]])["forgetting"] == pytest.approx(0.5 - 0.4)


def test_what_is_not_defined_is_left_out():
    assert scores([None, None, [0.4, 0.6]]) == {"average_accuracy": pytest.approx(0.5)}
    assert set(scores([[0.1], [0.9]])) == {"average_accuracy", "learning_accuracy"}
    assert "forward_transfer" not in scores(R, forward=False)


def test_the_joint_gap_is_what_learning_lacks_of_joint_training():
    result = compared_with_joint(R, [0.95, 0.90, 0.80])
    assert result["joint_accuracy"] == pytest.approx((0.95 + 0.90 + 0.80) / 3)
    assert result["joint_gap"] == pytest.approx(((0.95 - 0.9) + (0.90 - 0.8) + (0.80 - 1.0)) / 3)
    assert set(compared_with_joint([None, None, [0.4, 0.6]], [0.5, 0.5])) == {"joint_accuracy"}


def test_intransigence_by_hand():
    result = compared_with_cumulative(R, [0.95, 0.90, 0.80])
    assert result == {"intransigence": pytest.approx(((0.95 - 0.9) + (0.90 - 0.8) + (0.80 - 1.0)) / 3)}


def test_spread_between_groups_and_within_them():
    draws = np.random.default_rng(0)
    groups = draws.normal(0, 0.3, (4000, 1)) + draws.normal(0, 0.1, (4000, 3))
    between, within = components(groups.tolist())
    assert between == pytest.approx(0.3, rel=0.05)
    assert within == pytest.approx(0.1, rel=0.05)
    assert components([[1.0, 3.0], [3.0, 1.0]]) == (0.0, pytest.approx(2**0.5))


@pytest.mark.parametrize("values", [[1.0, 3.0], [0.2, 0.4, 0.9], [1.0, 2.0, 4.0, 8.0, 16.0]])
def test_the_interval_is_scipys(values):
    result = spread(values)
    low, high = scipy.stats.t.interval(0.95, len(values) - 1, np.mean(values), scipy.stats.sem(values))
    ends = (result.mean - result.half, result.mean + result.half)
    assert (*ends, result.count) == pytest.approx((low, high, len(values)))
    assert spread([3.0]).half is None
