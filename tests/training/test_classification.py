"""What a classifier run says beside its accuracy, against scikit-learn and hand computation."""

import csv
import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn import metrics
from sklearn.calibration import calibration_curve
from sklearn.dummy import DummyClassifier
from sklearn.utils.class_weight import compute_class_weight

from mlbench.training.classification import Classification, expected_calibration_error
from mlbench.training.losses import class_weights, weighted_cross_entropy


@pytest.fixture
def answered():
    rng = np.random.default_rng(0)
    labels = rng.choice(4, 300, p=[0.6, 0.3, 0.08, 0.02])
    outputs = rng.normal(size=(300, 4)) + 1.5 * np.eye(4)[labels]
    probabilities = torch.from_numpy(outputs).softmax(1).numpy()
    return Classification(probabilities, labels, ["a", "b", "c", "d"])


def test_scores_are_those_of_scikit_learn(answered):
    train = torch.tensor([1, 1, 1, 0])
    scores, predictions = answered.scores(train), answered.probabilities.argmax(1)
    constant = DummyClassifier(strategy="most_frequent").fit(np.zeros((4, 1)), train.numpy())
    assert scores["balanced_accuracy"] == metrics.balanced_accuracy_score(answered.labels, predictions)
    assert scores["macro_f1"] == metrics.f1_score(answered.labels, predictions, average="macro")
    assert scores["majority_accuracy"] == constant.score(np.zeros((300, 1)), answered.labels)


def test_calibration_error_by_hand():
    probabilities = np.array([[0.95, 0.05], [0.94, 0.06], [0.6, 0.4], [0.3, 0.7], [0.5, 0.5]])
    answered = Classification(probabilities, np.array([0, 1, 0, 1, 0]), ["a", "b"])
    rows = answered.reliability()  # bins of 1/15: .95 and .94 share the last one, .5, .6 and .7 have one each
    assert [row[2] for row in rows] == [1, 1, 1, 2]
    by_hand = (0.5 + 0.4 + 0.3 + 2 * abs(0.5 - 0.945)) / 5
    assert expected_calibration_error(rows, 5) == pytest.approx(by_hand)


def test_reliability_is_the_calibration_curve_of_scikit_learn(answered):
    correct = answered.probabilities.argmax(1) == answered.labels
    accuracy, confidence = calibration_curve(correct, answered.probabilities.max(1), n_bins=15)
    rows = np.array(answered.reliability())
    np.testing.assert_allclose(rows[:, 4], accuracy)
    np.testing.assert_allclose(rows[:, 3], confidence)
    assert rows[:, 2].sum() == 300


def test_what_is_not_defined_is_left_empty():
    probabilities = np.eye(4)[[0, 0, 1]]  # c is neither there nor answered, b is answered and not there
    rows = Classification(probabilities, np.array([0, 3, 0]), ["a", "b", "c", "d"]).by_class()
    assert rows == [
        ["a", 2, 2, 0.5, 0.5, 0.5],
        ["b", 0, 1, 0.0, "", 0.0],
        ["c", 0, 0, "", "", ""],
        ["d", 1, 0, "", 0.0, 0.0],
    ]


def test_confused_pairs_are_the_largest_entries_beside_the_diagonal(answered):
    matrix = metrics.confusion_matrix(answered.labels, answered.predictions)
    first, second = answered.confused(2)
    off = matrix - np.diag(matrix.diagonal())
    assert [first[2], second[2]] == sorted(off.flatten().tolist(), reverse=True)[:2]
    assert off[answered.classes.index(first[0]), answered.classes.index(first[1])] == first[2]
    assert first[3] == matrix[answered.classes.index(first[0])].sum()


def test_balanced_weights_are_those_of_scikit_learn():
    labels = torch.tensor([0, 0, 0, 0, 1, 3, 3])
    weights = class_weights("balanced", labels)
    expected = compute_class_weight("balanced", classes=np.array([0, 1, 3]), y=labels.numpy())
    np.testing.assert_allclose(weights[[0, 1, 3]], expected, rtol=1e-6)
    assert weights[2] == 1
    logits = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    each = F.cross_entropy(logits, labels, reduction="none")
    by_hand = (each * weights[labels]).sum() / weights[labels].sum()
    torch.testing.assert_close(weighted_cross_entropy(logits, labels, weights), by_hand)
    assert torch.equal(weighted_cross_entropy(logits, labels, None), F.cross_entropy(logits, labels))


def write_imbalanced(path):
    """250, 50 and 10 pictures of three classes that overlap."""
    rng = np.random.default_rng(0)

    def pictures(counts):
        y = np.repeat(np.arange(3), counts)
        centres = 110 + 18 * y[:, None, None]
        return np.clip(centres + rng.normal(0, 30, (len(y), 4, 4)), 0, 255).astype(np.uint8), y

    (x_train, y_train), (x_test, y_test) = pictures([250, 50, 10]), pictures([100, 20, 6])
    np.savez(path, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test, classes=["many", "some", "few"])


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_on_imbalanced_data_says_so(mlbench, tmp_path):
    write_imbalanced(tmp_path / "own.npz")
    words = ("data=npz", f"data.path={tmp_path / 'own.npz'}", "train.epochs=3")
    code, _, told = mlbench(*words)
    assert code == 0, told
    assert "always answering many would be right in 79.4% of the test examples" in told
    assert "most often confused: some as many (" in told
    (folder,) = (tmp_path / "out").glob("plain/*/*")
    rows = {row["class"]: row for row in read(folder / "classes.csv")}
    assert (rows["few"]["test"], float(rows["few"]["recall"])) == ("6", 0.0)
    found = json.loads((folder / "summary.json").read_text())["metrics"]
    recalls = [float(row["recall"]) for row in rows.values()]
    assert found["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    assert found["majority_accuracy"] == pytest.approx(100 / 126)
    matrix = np.array([[int(row[name]) for name in rows] for row in read(folder / "confusion.csv")])
    assert found["accuracy"] == pytest.approx(matrix.trace() / 126)
    assert read(folder / "class_counts.csv")[2] == {
        "task": "all classes", "class": "few", "training": "10", "validation": "0", "test": "6",
    }  # fmt: skip
    assert {path.name for path in (folder / "figures").iterdir()} == {"confusion.png", "loss.png", "reliability.png"}
    code, _, told = mlbench(*words, "train.class_weights=balanced", "train.epochs=30")
    assert code == 0, told
    weighed = [read(path / "classes.csv") for path in (tmp_path / "out").glob("plain/*/*") if path != folder]
    assert float(weighed[0][2]["recall"]) > 0


def test_every_epoch_leaves_its_validation_loss_and_accuracy(mlbench, tmp_path):
    assert mlbench("train.validation=0.2", "train.patience=2", "train.epochs=40", "train.lr=0.5")[0] == 0
    (folder,) = (tmp_path / "out").glob("plain/*/*")
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    losses, accuracies = (
        [line["value"] for line in lines if (line["split"], line["metric"]) == ("validation", metric)]
        for metric in ("loss", "accuracy")
    )
    kept = json.loads((folder / "summary.json").read_text())["metrics"]["kept_epoch"]
    assert len(losses) == len(accuracies) == kept + 2  # two epochs without a better one
    assert losses[kept - 1] == min(losses)
    assert all(0 <= value <= 1 for value in accuracies)


def test_a_validation_part_that_comes_with_the_data_is_used(mlbench, tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (60, 4, 4), dtype=np.uint8), np.arange(60) % 2
    parts = {"x_train": x[:30], "y_train": y[:30], "x_test": x[30:40], "y_test": y[30:40]}
    np.savez(tmp_path / "own.npz", **parts, x_val=x[40:], y_val=y[40:])
    words = ("data=npz", f"data.path={tmp_path / 'own.npz'}", "train.epochs=4")
    assert mlbench(*words, "train.patience=1")[0] == 0
    (folder,) = (tmp_path / "out").glob("plain/*/*")
    assert read(folder / "class_counts.csv")[0]["validation"] == "10"
    assert "kept_epoch" in json.loads((folder / "summary.json").read_text())["metrics"]
