"""Explanations of rows of a table: by hand on a linear network, and whole runs on tables."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from torch import nn

from mlbench.data.modality import EVERY, Tables
from mlbench.explain.attribution.controls import controls
from mlbench.explain.attribution.evaluation import in_parts
from mlbench.explain.attribution.feature_attribution import LONGEST, FeatureView, FromFeatures, bar_labels
from mlbench.explain.attribution.input_x_gradient import InputXGradient
from mlbench.explain.attribution.integrated_gradients import IntegratedGradients
from mlbench.explain.attribution.kernel_shap import KernelShap
from mlbench.explain.attribution.lime import Lime
from mlbench.explain.attribution.metrics import completeness_error
from mlbench.explain.attribution.occlusion import Occlusion
from mlbench.explain.attribution.saliency import Saliency
from mlbench.explain.attribution.smoothgrad import SmoothGrad
from mlbench.explain.attribution.views import VIEWS
from mlbench.models.mlp import Linear
from mlbench.reporting.figures.bars import BARS, draw_bars
from mlbench.runs.results import Bars, Findings
from tests.experiment.test_runs import only_run, summary
from tests.techniques import configured

WINE = ("data=wine", "model=linear", "train.epochs=2", "threads=1")
FEATURES = [1, 2, 5, 13, 60]


def linear_network(features, rows=4, outputs=3):
    """(network on rows of one pixel each feature, its weights [outputs, F], rows [B, 1, 1, F], classes [B])."""
    torch.manual_seed(features)
    net = Linear((features,), outputs).eval()
    x = torch.randn(rows, 1, 1, features)
    return FromFeatures(net), net[1].weight.detach(), x, torch.arange(rows) % outputs


def attribution(cls, **settings):
    """A method that is ready for maps: black is a raw 0 where features have mean 1 and standard deviation 2."""
    method = configured(cls, **settings)
    method.look(SimpleNamespace(generator=torch.Generator().manual_seed(0), black=torch.full((1, 1, 1, 1), -0.5)))
    return method


@pytest.mark.parametrize("features", FEATURES)
def test_gradients_of_a_linear_network_are_its_weights(features):
    net, weights, x, target = linear_network(features)
    for method in (Saliency, SmoothGrad):
        maps = attribution(method).maps(net, x, target)
        torch.testing.assert_close(maps.flatten(1), weights[target], rtol=1e-5, atol=1e-6)
    maps = attribution(InputXGradient).maps(net, x, target)
    torch.testing.assert_close(maps.flatten(1), weights[target] * x.flatten(1))


@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize(
    "method", [(IntegratedGradients, {"baseline": "mean"}), (Occlusion, {}), (KernelShap, {"perturbations": 400})]
)
def test_effects_in_a_linear_network_are_weight_times_value(features, method):
    """Shapley values are exact there: each feature adds the same whatever came before it."""
    net, weights, x, target = linear_network(features)
    cls, settings = method
    maps = attribution(cls, **settings).maps(net, x, target)
    assert maps.shape == x.shape
    torch.testing.assert_close(maps.flatten(1), weights[target] * x.flatten(1), rtol=1e-3, atol=2e-4)
    assert completeness_error(net, x, torch.zeros_like(x), maps, target) < 1e-3


def test_integrated_gradients_from_a_raw_zero_explain_the_difference_to_it():
    net, weights, x, target = linear_network(5)
    method = attribution(IntegratedGradients, baseline="zero")
    maps = method.maps(net, x, target)
    torch.testing.assert_close(maps.flatten(1), weights[target] * (x.flatten(1) + 0.5), rtol=1e-4, atol=1e-5)
    assert completeness_error(net, x, method.origin(x), maps, target) < 1e-4


def test_lime_orders_the_features_of_a_linear_network():
    net, weights, x, target = linear_network(5)
    maps = attribution(Lime, perturbations=1000).maps(net, x, target).flatten(1)
    effects = weights[target] * x.flatten(1)
    assert torch.corrcoef(torch.stack([maps.flatten(), effects.flatten()]))[0, 1] > 0.99


@pytest.mark.parametrize("cls", [Saliency, IntegratedGradients, Occlusion, KernelShap])
def test_a_feature_that_is_always_its_mean_adds_nothing(cls):
    net, weights, x, target = linear_network(4)
    x[..., 2] = 0  # as normalisation leaves a constant column
    maps = attribution(cls).maps(net, x, target).flatten(1)
    expected = weights[target, 2] if cls is Saliency else torch.zeros(len(x))
    torch.testing.assert_close(maps[:, 2], expected, rtol=1e-4, atol=1e-4)


def test_shapley_values_of_an_interaction_are_shared_by_its_features():
    """The product of two features is split evenly: by hand from both orders of arrival."""

    class Product(nn.Module):
        def forward(self, x):
            return torch.stack([x[:, 0] * x[:, 1] + 3 * x[:, 2], torch.zeros(len(x))], 1)

    x = torch.tensor([[2.0, 4.0, 1.0]])[:, None, None]
    maps = attribution(KernelShap, perturbations=600).maps(FromFeatures(Product()), x, torch.tensor([0]))
    torch.testing.assert_close(maps.flatten(), torch.tensor([4.0, 4.0, 3.0]), rtol=0, atol=0.35)
    assert maps.sum().item() == pytest.approx(11, abs=1e-3)


def view_of(features, rows=4):
    """A view of rows that a linear network classifies, and what they are."""
    net, _, x, target = linear_network(features, rows)
    raw, names = x.flatten(1), tuple(f"feature {number}" for number in range(features))
    context = SimpleNamespace(
        chosen=lambda method: torch.arange(rows),
        test=SimpleNamespace(batch=lambda index: SimpleNamespace(x=raw[index], y=target[index])),
        task=SimpleNamespace(modality=Tables(names)),
        input_shape=(features,),
        classes=["a", "b", "c"],
    )
    return FeatureView(net.net, configured(Saliency), context), raw, names


def test_every_modality_has_a_view():
    assert set(VIEWS) == set(EVERY)


def test_names_beside_bars_are_short_and_distinct():
    assert bar_labels(["alcohol", "abcdefghijklmnopqrstuvwxyz0123456789"]) == [
        "alcohol",
        "abcdefghijklmno…wxyz0123456789",
    ]
    long = [f"a long name of a measurement, number {n} (in micrometres)" for n in range(150)]
    labels = bar_labels(long)
    assert len(set(labels)) == 150
    assert max(map(len, labels)) <= LONGEST + 1  # a number of three digits
    assert labels[37].startswith("38: a long")


def test_tables_have_a_view_without_edges():
    assert VIEWS[Tables] is FeatureView
    view, raw, _ = view_of(5)
    (examples,) = view.examples
    makers = controls(configured(Saliency).maps, view, 3, torch.Generator().manual_seed(0))
    assert list(makers) == ["random", "input", "wrong_class"]
    maps = {name: in_parts(maker, examples.net, examples.x, examples.target) for name, maker in makers.items()}
    assert {each.shape for each in maps.values()} == {(4, 1, 1, 5)}
    torch.testing.assert_close(maps["input"].flatten(1), raw)
    assert not view.empty(examples.x).any()


def test_a_view_shows_the_mean_size_of_each_feature_and_single_rows():
    view, raw, names = view_of(5, rows=8)
    results = Findings()
    values = torch.randn(8, 1, 1, 5)
    view.show(results, configured(Saliency), "saliency", {"saliency": [values]})
    mean, *rows = results.bars["features"]
    assert mean.values == pytest.approx(values.flatten(1).abs().mean(0).tolist())
    assert [bars.values for bars in rows] == [pytest.approx(row.flatten().tolist()) for row in values[:6]]
    assert [row["feature"] for row in results.tables["features"]] == list(names)
    arrays = results.arrays["maps"]
    np.testing.assert_allclose(arrays["rows"], raw)
    assert arrays["maps"].shape == (8, 5)


@pytest.mark.parametrize(
    "explanation", [("saliency",), ("integrated_gradients", "explain.steps=20"), ("kernel_shap",), ("occlusion",)]
)
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


@pytest.mark.parametrize("names", [["x"], ["x", "y"], [f"a long name of a measurement, number {n}" for n in range(60)]])
def test_bars_are_drawn_for_few_and_many_features(tmp_path, names):
    panels = [Bars(f"panel {number}", names, [(-1.0) ** n * n for n in range(len(names))]) for number in range(7)]
    draw_bars(panels, tmp_path / "bars.png")
    with Image.open(tmp_path / "bars.png") as image:
        assert image.width > image.height or len(names) > BARS
        assert len(image.convert("L").getcolors()) > 2
