"""Whole runs on tables: figures and metrics, agreement with scikit-learn, unusual tables, refusals."""

import csv

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from tests.experiment.test_runs import only_run, summary

WINE = ("data=wine", "model=linear", "train.epochs=2", "threads=1")


@pytest.mark.parametrize(
    "explanation", [("saliency",), ("integrated_gradients", "explain.steps=20"), ("kernel_shap",), ("occlusion",)]
)
@pytest.mark.usefixtures("figures")
def test_a_run_leaves_bars_and_scores(mlbench, tmp_path, explanation):
    method, *settings = explanation
    code, _, error = mlbench(f"explain={method}", "explain.samples=10", *settings, *WINE)
    assert code == 0, error
    folder = only_run(tmp_path / "out")
    metrics = summary(folder)["metrics"]
    assert 0 < metrics["accuracy"] <= 1
    assert all(np.isfinite(value) for value in metrics.values())
    assert {"control_random_deletion_auc", "control_input_deletion_auc", "control_wrong_class_deletion_auc"} <= {
        *metrics
    }
    assert not any(name.startswith("control_edges") for name in metrics)
    with Image.open(folder / "figures" / "features.png") as image:
        assert min(image.size) > 200
    with (folder / "features.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["feature"] for row in rows] == list(load_wine().feature_names)
    with np.load(folder / "artefacts" / "maps.npz") as file:
        maps, predicted = file["maps"], file["predicted"]
    assert maps.shape == (10, 13)
    assert len(predicted) == 10
    assert [float(row["mean_size"]) for row in rows] == pytest.approx(abs(maps).mean(0).tolist(), rel=1e-5)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (1, ["explain=kernel_shap"]),
        (1, ["explain=occlusion"]),
        (2, ["explain=integrated_gradients", "explain.steps=10"]),
        (60, ["explain=kernel_shap"]),
        (60, ["explain=baselines", "explain.depths=[2]", "explain.forest=3"]),
    ],
)
def test_runs_on_narrow_and_wide_tables_with_a_constant_column(mlbench, tmp_path, columns, words):
    path = tmp_path / "table.csv"
    draws = np.random.default_rng(0)
    labels = np.arange(40) % 2
    rows = draws.normal(size=(40, columns)) + labels[:, None]
    if columns > 1:
        rows[:, -1] = 7.5
    lines = [",".join([*(f"column {number}" for number in range(columns)), "kind"])]
    for row, label in zip(rows, labels, strict=True):
        lines.append(",".join([*(f"{value:.3f}" for value in row), "ab"[label]]))
    path.write_text("\n".join(lines) + "\n")
    few = [] if "explain=baselines" in words else ["explain.samples=4"]
    code, _, error = mlbench(*words, *few, "data=table", f"data.path={path}", "data.target=kind", *WINE[1:])
    assert code == 0, error
    metrics = summary(only_run(tmp_path / "out"))["metrics"]
    assert all(np.isfinite(value) for value in metrics.values())


def test_readable_models_agree_with_scikit_learn_on_the_same_split(mlbench, tmp_path):
    words = ("explain=baselines", "explain.depths=[2]", "explain.readable=2", "explain.forest=5")
    code, _, error = mlbench(*words, "explain.iterations=500", *WINE)
    assert code == 0, error
    folder = only_run(tmp_path / "out")
    metrics = summary(folder)["metrics"]
    table = load_wine()
    split = train_test_split(table.data, table.target, test_size=0.25, random_state=0, stratify=table.target)
    x, x_test, y, y_test = (part.astype(np.float32) if part.dtype.kind == "f" else part for part in split)
    scaler = StandardScaler().fit(x)
    linear = LogisticRegression(max_iter=500).fit(scaler.transform(x), y)
    assert metrics["linear_accuracy"] == pytest.approx(linear.score(scaler.transform(x_test), y_test))
    assert metrics["linear_size"] == 3 * 13
    with np.load(folder / "artefacts" / "linear.npz") as file:
        np.testing.assert_allclose(file["weights"].reshape(3, 13), linear.coef_, rtol=0.02, atol=2e-3)
    tree = DecisionTreeClassifier(max_depth=2, random_state=0).fit(x, y)
    assert metrics["readable_tree_accuracy"] == pytest.approx(tree.score(x_test, y_test), abs=2 / len(y_test))
    assert metrics["readable_tree_size"] == tree.get_n_leaves()
    text = (folder / "tree.txt").read_text()
    assert any(name in text for name in table.feature_names)
    assert "row " not in text.replace("rows", "")
    assert (folder / "figures" / "linear.png").exists()


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["explain=gradcam"], ["explain=gradcam", "tables", "saliency"]),
        (["explain=maximise"], ["explain=maximise", "tables", "saliency"]),
        (["explain=mend"], ["explain=mend", "tables", "saliency"]),
        (["explain=occlusion", "explain.patch=3"], ["explain.patch", "one by one"]),
        (["explain=occlusion", "explain.segments=3"], ["explain.segments", "one by one"]),
        (["explain=integrated_gradients", "explain.baseline=blur"], ["explain.baseline", "zero|mean"]),
        (["explain=saliency", "explain.images=pictures"], ["explain.images", "null", "tables"]),
        (["explain=saliency", "explain.target=3"], ["explain.target", "0 to 2"]),
        (["explain=saliency", "train.augment=shift"], ["train.augment", "tables"]),
        (["explain=saliency", "model=cnn"], ["tables", "model=mlp"]),
    ],
)
def test_what_does_not_go_with_a_table_is_refused_before_anything_is_written(mlbench, tmp_path, words, parts):
    code, _, error = mlbench(*WINE, *words)
    assert code == 2, error
    assert all(part in error for part in parts), error
    assert len(error.strip().splitlines()) <= 2
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()
