"""Readable models beside the network: the same as scikit-learn's own, sizes counted by hand."""

import csv

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from mlbench.data.datasets.digits import Digits
from mlbench.explain.interpretable_models import Inputs, fit, grid, table_row, weight_maps
from tests.experiment.test_runs import only_run, summary
from tests.explain.test_runner import SMALL


@pytest.fixture
def digits():
    arrays = Digits().load(None)
    flat = [x.flatten(1).numpy() for x in (arrays.x_train, arrays.x_test)]
    return flat[0], arrays.y_train.numpy(), flat[1], arrays.y_test.numpy()


def test_a_run_agrees_with_scikit_learn_called_directly(mlbench, tmp_path, digits):
    words = ("explain=baselines", "explain.depths=[2,5]", "explain.readable=2", "explain.forest=7")
    code, _, error = mlbench(*words, "explain.iterations=300", *SMALL)
    assert code == 0, error
    folder = only_run(tmp_path / "out")
    metrics = summary(folder)["metrics"]
    x, y, x_test, y_test = digits
    linear = LogisticRegression(max_iter=300).fit(x / 255.0, y)
    assert metrics["linear_accuracy"] == pytest.approx(linear.score(x_test / 255.0, y_test), abs=1 / len(y_test))
    assert metrics["linear_size"] == 10 * 64
    full = DecisionTreeClassifier(random_state=0).fit(x, y)
    assert metrics["tree_accuracy"] == pytest.approx(full.score(x_test, y_test), abs=0.04)  # ties fall by the seed
    assert metrics["tree_size"] == pytest.approx(full.get_n_leaves(), rel=0.1)
    small = DecisionTreeClassifier(max_depth=2, random_state=0).fit(x, y)
    assert metrics["readable_tree_accuracy"] == pytest.approx(small.score(x_test, y_test), abs=0.01)
    assert metrics["readable_tree_size"] == 4
    assert metrics["network_accuracy"] == metrics["accuracy"]
    assert metrics["network_size"] == (9 * 4 + 2 * 4) + (9 * 4 * 6 + 2 * 6) + (6 * 10 + 10)
    assert 7 * 100 < metrics["forest_size"] < 7 * 250
    assert metrics["forest_accuracy"] > metrics["tree_accuracy"] > metrics["readable_tree_accuracy"]
    with (folder / "baselines.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["model"] for row in rows] == ["linear", "tree", "tree", "tree", "forest", "network"]
    assert [row["depth"] for row in rows[1:3]] == ["2", "5"]
    assert int(rows[3]["depth"]) > 5
    with np.load(folder / "artefacts" / "linear.npz", allow_pickle=False) as file:
        assert file["weights"].shape == (10, 1, 8, 8)
        agree = (x_test / 255.0) @ file["weights"].reshape(10, 64).T + file["bias"]
    assert (agree.argmax(1) == y_test).mean() == pytest.approx(metrics["linear_accuracy"])


def test_the_written_tree_classifies_as_scikit_learn_does(mlbench, tmp_path, digits):
    code, _, error = mlbench("explain=baselines", "explain.depths=[1]", "explain.forest=1", *SMALL)
    assert code == 0, error
    lines = (only_run(tmp_path / "out") / "tree.txt").read_text().splitlines()
    *_, x_test, y_test = digits
    right = [read(lines[2:], picture.reshape(8, 8)) == label for picture, label in zip(x_test, y_test, strict=True)]
    metrics = summary(only_run(tmp_path / "out"))["metrics"]
    assert np.mean(right) == pytest.approx(metrics["readable_tree_accuracy"])
    assert sum("class:" in line for line in lines) == metrics["readable_tree_size"] == 8


def read(lines, picture):
    """Follow the questions of a written tree as a person would."""
    depth = 0
    for line in lines:
        question = line.split("--- ")[-1]
        if line.count("|") != depth + 1:
            continue
        if question.startswith("class:"):
            return int(question.split()[-1])
        _, row, _, column, sign, limit = question.replace(",", "").split()
        value = picture[int(row), int(column)]
        if (value <= float(limit)) == (sign == "<="):
            depth += 1
    raise AssertionError("no leaf was met")


def test_two_classes_have_opposite_weights():
    draws = np.random.default_rng(0)
    x, y = draws.integers(0, 256, (60, 4), dtype=np.uint8), np.arange(60) % 2
    x[y == 1, 2] = 255
    linear, _ = fit(LogisticRegression(), Inputs(x, x / 255, y))
    maps = weight_maps(linear)
    assert maps.shape == (2, 4)
    assert np.array_equal(maps[0], -maps[1])
    assert maps[1].argmax() == 2
    row = table_row("linear", linear, linear.coef_.size, Inputs(x, x / 255, y), 0.0)
    assert row["weights_or_leaves"] == 4
    assert row["accuracy"] == LogisticRegression().fit(x / 255.0, y).score(x / 255.0, y)


def test_the_leaves_of_a_tree_are_counted_by_hand():
    x = np.array([[0], [10], [20], [30]], dtype=np.uint8)
    tree, _ = fit(DecisionTreeClassifier(), Inputs(x, x, np.array([0, 1, 0, 0])))
    row = table_row("tree", tree, tree.get_n_leaves(), Inputs(x, x, np.array([0, 1, 0, 1])), 0.0)
    assert (row["weights_or_leaves"], row["depth"], row["accuracy"]) == (3, 2, 0.75)


def test_many_classes_take_several_rows_of_the_figure():
    rows = grid(np.ones((23, 3, 2, 2)), [f"class {number}" for number in range(23)])
    assert [len(panels) for _, panels in rows] == [10, 10, 3]
    assert rows[2][1][2].caption == "class 22"
    assert (rows[0][1][0].map == 3).all()


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("explain.depths=[3,0]", ["depths", "1 or more"]),
        ("explain.readable=9", ["readable", "1 to 8"]),
        ("explain.forest=0", ["forest", "1 tree"]),
        ("explain.iterations=0", ["iterations"]),
    ],
)
def test_mistakes_get_short_answers(mlbench, word, parts):
    code, _, error = mlbench("explain=baselines", word, *SMALL)
    assert code == 2, error
    assert all(part in error for part in parts)
