"""The comparison with peers: both sides do the same work on the same tasks, and its rows say what was measured."""

import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
METHODS = ("naive", "EWC", "EWC, one penalty", "GEM", "A-GEM", "replay")


@pytest.fixture
def scripts(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))


def answer(seconds, steps=10, accuracy=0.5):
    return {"seconds": seconds, "samples": 100, "steps": steps, "accuracy": accuracy}


def test_rows_hold_medians_of_speeds_and_of_the_ratios_of_rounds(scripts):
    from compare_peers import lifelong_row

    pairs = [(answer(1.0), answer(2.0)), (answer(2.0), answer(10.0)), (answer(4.0), answer(12.0))]
    assert lifelong_row("naive", pairs) == ["naive", "50", "10", "3.0", "0.500 ± 0.000", "0.500 ± 0.000"]


def test_unequal_work_is_not_compared(scripts):
    from compare_peers import lifelong_row

    with pytest.raises(SystemExit, match="not the same work"):
        lifelong_row("GEM", [(answer(1.0), answer(1.0, steps=11))])


@pytest.mark.parametrize("method", METHODS)
def test_our_side_learns_every_method(scripts, method):
    from peers_mlbench import prepare
    from peers_protocol import Protocol, learned

    found = learned(prepare, method, 0, Protocol("digits", 2, 1400))
    assert (found["steps"], found["samples"]) == (280, 2800)
    assert 0.2 < found["accuracy"] <= 1


def test_both_sides_meet_the_same_tasks_and_take_as_many_steps(scripts):
    pytest.importorskip("avalanche")
    from compare_peers import Protocol, Side

    with Side("mlbench", sys.executable) as mine, Side("avalanche", sys.executable) as theirs:
        for method in METHODS:
            found = [side.learn(method, 0, Protocol("digits", 2, 200)) for side in (mine, theirs)]
            assert found[0]["steps"] == found[1]["steps"] == 40
            assert found[0]["samples"] == found[1]["samples"] == 400
