"""The checks of claims about lifelong learning, on numbers written by hand."""

import pytest

from mlbench.reporting.claims import lifelong
from mlbench.reporting.claims.base import Runs, Verdict, best_on_other_seeds, combined_verdict
from mlbench.runs.run_record import RunRecord

HOLDS, FAILS = Verdict.HOLDS, Verdict.FAILS


def run(technique, seed, metrics, costs=None, **config):
    return RunRecord(None, {"technique": technique, "seed": seed, "metrics": metrics, "costs": costs or {}}, config)


def verdict(decide, runs):
    return combined_verdict(decide(Runs(runs)))


def test_the_best_option_is_chosen_on_the_other_seeds():
    """The option that is best at seed 0 alone is not chosen for seed 0."""
    lucky, steady = {0: 0.8, 1: 0.1, 2: 0.1}, {0: 0.5, 1: 0.5, 2: 0.5}
    assert best_on_other_seeds([lucky, steady]) == [0.5, 0.5, 0.5]
    assert best_on_other_seeds([lucky, steady], min) == [0.8, 0.1, 0.1]


@pytest.mark.parametrize(("lost", "joint", "expected"), [(0.3, 0.9, HOLDS), (0.01, 0.9, FAILS), (0.3, 0.6, FAILS)])
def test_forgetting(lost, joint, expected):
    runs = [run("finetune", s, {"forgetting": lost, "average_accuracy": 0.6}) for s in range(3)]
    runs += [run("joint", s, {"average_accuracy": joint}) for s in range(3)]
    assert verdict(lifelong.forgetting, runs) is expected


@pytest.mark.parametrize(("power", "accuracy", "expected"), [(2, 0.9, HOLDS), (1, 0.9, FAILS), (2, 0.8, FAILS)])
def test_cost_of_relearning(power, accuracy, expected):
    """T tasks of 100 examples: 100 T (T + 1) / 2 in all where everything is learned again, 100 T where nothing is."""
    runs = []
    for tasks in (2, 4):
        again = 100 * tasks * (tasks + 1) / 2 if power == 2 else 100 * tasks
        for s in range(3):
            config = {"data": {"tasks": tasks}}
            kept = {"average_accuracy": accuracy}
            runs.append(run("cumulative", s, kept, {"samples_processed": again}, **config))
            runs.append(run("joint", s, {"average_accuracy": 0.9}, {"samples_processed": 100 * tasks}, **config))
    assert verdict(lifelong.relearning_cost, runs) is expected


@pytest.mark.parametrize(
    ("size", "backward", "joint", "expected"),
    [(30, 0.0, 0.9, HOLDS), (10, 0.0, 0.9, FAILS), (30, -0.1, 0.9, FAILS), (30, 0.0, 0.7, FAILS)],
)
def test_a_model_for_each_task(size, backward, joint, expected):
    runs = [run("joint", s, {"average_accuracy": joint}, {"parameters": 10}, data={"tasks": 3}) for s in range(3)]
    for s in range(3):
        metrics = {"average_accuracy": 0.7, "backward_transfer": backward}
        runs.append(run("independent", s, metrics, {"parameters": size}, data={"tasks": 3}))
    assert verdict(lifelong.model_per_task, runs) is expected


@pytest.mark.parametrize(("inner", "rigid", "expected"), [(0.8, 0.5, HOLDS), (0.5, 0.5, FAILS), (0.8, 0.9, FAILS)])
def test_strengths_between_the_ends(inner, rigid, expected):
    learning = {0.0: 0.9, 1.0: 0.85, 10.0: rigid}
    average, lost = {0.0: 0.6, 1.0: inner, 10.0: 0.4}, {0.0: 0.5, 1.0: 0.3, 10.0: 0.1}
    runs = [
        run(
            "ewc",
            s,
            {"average_accuracy": average[b], "learning_accuracy": learning[b], "forgetting": lost[b]},
            lifelong={"strength": b},
        )
        for b in average
        for s in range(3)
    ]
    assert verdict(lifelong.importance_extremes, runs) is expected


@pytest.mark.parametrize(("si", "expected"), [(0.8, HOLDS), (0.6, FAILS)])
def test_selective_plasticity(si, expected):
    best = {"l2": 0.7, "ewc": 0.75, "si": si, "mas": 0.8}
    runs = [
        run(name, s, {"average_accuracy": value - (strength != 1)}, lifelong={"strength": strength})
        for name, value in best.items()
        for strength in (0.1, 1)
        for s in range(3)
    ]
    assert verdict(lifelong.selective_plasticity, runs) is expected


@pytest.mark.parametrize(("gem", "cosine", "expected"), [(0.9, 0.0, HOLDS), (0.6, 0.0, FAILS), (0.9, -0.5, FAILS)])
def test_gem(gem, cosine, expected):
    runs = [run("gem", s, {"average_accuracy": gem, "lowest_cosine": cosine}) for s in range(3)]
    runs += [run("finetune", s, {"average_accuracy": 0.6}) for s in range(3)]
    assert verdict(lifelong.gem, runs) is expected


@pytest.mark.parametrize(("matters", "expected"), [(True, HOLDS), (False, FAILS)])
def test_orders(matters, expected):
    runs = [
        run("finetune", s, {"average_accuracy": 0.5 + 0.2 * order * matters}, data={"order_seed": order})
        for order in range(3)
        for s in range(3)
    ]
    assert verdict(lifelong.task_order, runs) is expected


def test_matrix_and_feedback():
    good = {"backward_transfer": -0.2, "forward_transfer": 0.3}
    assert verdict(lifelong.accuracy_matrix, [run("finetune", s, good) for s in range(3)]) is HOLDS
    assert (
        verdict(lifelong.accuracy_matrix, [run("finetune", s, {**good, "forward_transfer": 0}) for s in range(3)])
        is FAILS
    )
    served = {"frozen": (0.4, 0.9), "finetune": (0.6, 0.3), "gem": (0.6, 0.7)}
    runs = lambda served: [  # noqa: E731
        run(name, s, {"online_accuracy": online, "original_accuracy": original})
        for name, (online, original) in served.items()
        for s in range(3)
    ]
    assert verdict(lifelong.feedback, runs(served)) is HOLDS
    assert verdict(lifelong.feedback, runs({**served, "gem": (0.45, 0.7)})) is FAILS
    assert verdict(lifelong.feedback, runs({**served, "gem": (0.6, 0.35)})) is FAILS
