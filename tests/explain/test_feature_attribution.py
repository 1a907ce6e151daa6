"""Attributions for rows of a table against values computed by hand, and the bars that show them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
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
from mlbench.runs.results import Bars, Results
from tests.techniques import configured

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
    results = Results()
    values = torch.randn(8, 1, 1, 5)
    view.show(results, configured(Saliency), "saliency", {"saliency": [values]})
    mean, *rows = results.bars["features"]
    assert mean.values == pytest.approx(values.flatten(1).abs().mean(0).tolist())
    assert [bars.values for bars in rows] == [pytest.approx(row.flatten().tolist()) for row in values[:5]]
    assert [row["feature"] for row in results.tables["features"]] == list(names)
    arrays = results.arrays["maps"]
    np.testing.assert_allclose(arrays["rows"], raw)
    assert arrays["maps"].shape == (8, 5)


@pytest.mark.parametrize("names", [["x"], ["x", "y"], [f"a long name of a measurement, number {n}" for n in range(60)]])
def test_bars_are_drawn_for_few_and_many_features(tmp_path, names):
    panels = [Bars(f"panel {number}", names, [(-1.0) ** n * n for n in range(len(names))]) for number in range(7)]
    draw_bars(panels, tmp_path / "bars.png")
    with Image.open(tmp_path / "bars.png") as image:
        assert image.width > image.height or len(names) > BARS
        assert len(image.convert("L").getcolors()) > 2
