"""The checks of claims about compression, on rows written by hand."""

import csv

import pytest

from mlbench.reporting.claims import compress
from mlbench.reporting.claims.base import Runs, Verdict, combined_verdict
from mlbench.runs.run_record import RunRecord

HOLDS, FAILS = Verdict.HOLDS, Verdict.FAILS


@pytest.fixture
def run(tmp_path):
    """Makes runs: metrics, settings, and rows of points.csv by stage."""

    def make(seed, metrics, points=(), technique="prune", **config):
        folder = tmp_path / f"{technique}_{seed}_{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        with (folder / "points.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, ["stage", "accuracy", "bytes", "parameters"])
            writer.writeheader()
            writer.writerows({"stage": stage, **row} for stage, row in dict(points).items())
        return RunRecord(folder, {"seed": seed, "technique": technique, "metrics": metrics, "costs": {}}, config)

    return make


def verdict(decide, runs):
    return combined_verdict(decide(Runs(runs)))


def test_small_steps_are_paired_with_the_big_one(run):
    def runs(often, once):
        steps = [(0.2, often), (None, once)]
        return [run(s, {"accuracy": a + s / 100}, compress={"step": step}) for step, a in steps for s in range(3)]

    assert verdict(compress.prune_small_steps, runs(0.9, 0.8)) is HOLDS
    assert verdict(compress.prune_small_steps, runs(0.8, 0.9)) is FAILS


@pytest.mark.parametrize(("fast", "slow", "expected"), [(2.0, 1.0, HOLDS), (1.0, 1.0, FAILS), (2.0, 1.4, FAILS)])
def test_zeros_must_be_slow_and_removal_fast(run, fast, slow, expected):
    kinds = [("prune", slow, 1.0), ("prune_neurons", fast, 3.0)]
    runs = [
        run(s, {"nonzero_share": 0.3, "speedup": speed, "macs_saved": macs}, technique=name)
        for name, speed, macs in kinds
        for s in range(3)
    ]
    assert verdict(compress.zeros_are_not_smaller, runs) is expected


@pytest.mark.parametrize(
    ("size", "accuracy", "expected"), [(90, 0.8, HOLDS), (100, 0.8, FAILS), (90, 0.79, FAILS), (90, 0.81, FAILS)]
)
def test_huffman_saves_and_loses_nothing(run, size, accuracy, expected):
    points = {"cluster 5 bits": {"bytes": 100, "accuracy": 0.8}, "huffman": {"bytes": size, "accuracy": accuracy}}
    assert verdict(compress.huffman, [run(s, {}, points) for s in range(3)]) is expected


@pytest.mark.parametrize(("too_many", "expected"), [(0, HOLDS), (1, FAILS), (-1, FAILS)])
def test_separable_weights_are_counted(run, too_many, expected):
    """A picture of one channel, blocks of 4 and 8: 9*1*4 + 9*4*8 weights against 9*1 + 1*4 + 9*4 + 4*8."""
    left = 1000 - (9 * 4 + 9 * 32) + (9 + 4 + 36 + 32) + too_many
    points = {"dense": {"parameters": 1000}, "separable": {"parameters": left}}
    runs = [run(s, {"error_increase": 0.01}, points, model={"channels": [4, 8]}) for s in range(3)]
    assert verdict(compress.depthwise_separable, runs) is expected


def test_widths_are_compared_with_networks_of_their_own(run):
    def runs(quarter):
        accuracies = {f"{kind} {w:g}": {"accuracy": 0.9} for kind in ("width", "alone") for w in (0.25, 0.5, 0.75, 1)}
        accuracies["width 0.25"] = {"accuracy": quarter}
        return [run(s, {}, accuracies) for s in range(3)]

    assert verdict(compress.adjustable_width, runs(0.89)) is HOLDS
    assert verdict(compress.adjustable_width, runs(0.8)) is FAILS


@pytest.mark.parametrize(
    ("claim", "metric", "good", "bad"),
    [
        (compress.one_looks_like_seven, "soft_likeness", 0.5, 0.1),
        (compress.binary_weights, "error_increase", 0.01, 0.1),
        (compress.early_exit, "exit_speedup", 1.5, 1.0),
    ],
)
def test_single_numbers(run, claim, metric, good, bad):
    rest = {"ratio": 20.0, "first_exit_share": 0.9, "exit_error_increase": 0.0, "error_increase": 0.0}
    for value, expected in ((good, HOLDS), (bad, FAILS)):
        assert verdict(claim, [run(s, {**rest, metric: value}) for s in range(3)]) is expected


@pytest.mark.parametrize(
    ("claim", "metric", "setting", "good", "bad"),
    [
        (compress.finetune_matters, "accuracy", ("finetune_epochs", 3, 0), 0.1, 0.0),
        (compress.importance_of_weights, "accuracy", ("importance", "magnitude", "random"), 0.3, 0.05),
        (compress.ensemble_teacher, "accuracy", ("ensemble", 4, 1), 0.01, -0.01),
        (compress.temperature, "dropped_accuracy_distilled", ("temperature", 8.0, 1.0), 0.5, 0.1),
        (compress.temperature, "soft_entropy", ("temperature", 8.0, 1.0), 1.0, 0.1),
        (compress.temperature, "answers_changed", ("temperature", 8.0, 1.0), 0.0, 0.1),
    ],
)
def test_one_setting_less_another(run, claim, metric, setting, good, bad):
    """`good` and `bad` are how much more the metric is at the first value; the other metrics are as they should be."""
    name, one, other = setting
    apart = {"accuracy": 0.5, "dropped_accuracy_distilled": 0.5, "soft_entropy": 1.0, "answers_changed": 0.0}
    for more, expected in ((good, HOLDS), (bad, FAILS)):
        runs = [
            run(s, {key: (apart | {metric: more})[key] * (value == one) for key in apart}, compress={name: value})
            for value in (one, other)
            for s in range(3)
        ]
        assert verdict(claim, runs) is expected


@pytest.mark.parametrize(("distilled", "expected"), [(0.9, HOLDS), (0.3, FAILS)])
def test_soft_labels(run, distilled, expected):
    metrics = {"dropped_accuracy_distilled": distilled, "dropped_accuracy_student_alone": 0.0}
    assert verdict(compress.soft_labels, [run(s, metrics) for s in range(3)]) is expected


@pytest.mark.parametrize(("accuracy", "size", "expected"), [(0.895, 10, HOLDS), (0.85, 10, FAILS), (0.895, 50, FAILS)])
def test_clusters_lose_little_and_save_much(run, accuracy, size, expected):
    points = {"dense": {"accuracy": 0.9, "bytes": 100}, "cluster 4 bits": {"accuracy": accuracy, "bytes": size}}
    assert verdict(compress.weight_clusters, [run(s, {}, points) for s in range(3)]) is expected


@pytest.mark.parametrize(
    ("left", "half", "tenth", "expected"),
    [(0.49, 0.01, 0.4, HOLDS), (0.6, 0.01, 0.4, FAILS), (0.49, 0.1, 0.4, FAILS), (0.49, 0.01, 0.01, FAILS)],
)
def test_low_rank(run, left, half, tenth, expected):
    runs = [
        run(s, {"nonzero_share": left, "error_increase": lost}, compress={"fraction": fraction})
        for fraction, lost in ((0.5, half), (0.1, tenth))
        for s in range(3)
    ]
    assert verdict(compress.low_rank, runs) is expected
