"""What filters look for: the real pictures against a full sort, the synthesised one against them."""

import numpy as np
import pytest
import torch
from torch import nn

from mlbench.core.errors import SettingError
from mlbench.explain.feature_visualisation.filters import Filters, hidden
from mlbench.explain.feature_visualisation.units import excitations, units_of
from mlbench.models.cnn import CNN
from mlbench.models.mlp import MLP
from mlbench.models.resnet import ResNet18
from tests.experiment.test_runs import only_run, summary
from tests.explain.test_maximise import Studio
from tests.explain.test_runner import SMALL, table
from tests.techniques import configured


def cnn():
    torch.manual_seed(0)
    return CNN((1, 8, 8), 3, [4, 6]).eval()


def test_the_strongest_pictures_are_those_of_a_full_sort():
    net = cnn()
    context = Studio(net, (1, 8, 8))
    results = configured(Filters, layer="0", top=5, steps=3).explain(net, context)
    x = context.test.batch(torch.arange(64)).x
    maps = nn.functional.conv2d(x, net[0].weight, padding=1).detach().numpy()
    values = maps.mean((2, 3))  # [64, 4]
    raw = context.test.pool.examples.numpy()
    for number, row in enumerate(results.tables["filters"]):
        order = np.argsort(-values[:, number])[:5]
        assert row["filter"] == number
        assert row["top_activation"] == pytest.approx(values[order, number].mean(), rel=1e-4)
        np.testing.assert_array_equal(results.arrays["filters"]["top"][:, number], raw[order])
    assert len(results.grids["filters"]) == 4


def test_a_unit_alone_and_as_many_filters_as_the_limit():
    net = cnn()
    one = configured(Filters, layer="4", unit=3, top=2, steps=2).explain(net, Studio(net, (1, 8, 8)))
    assert [row["filter"] for row in one.tables["filters"]] == [3]
    some = configured(Filters, layer="4", limit=2, top=2, steps=2).explain(net, Studio(net, (1, 8, 8)))
    assert [row["filter"] for row in some.tables["filters"]] == [0, 1]


def test_excitations_do_not_depend_on_how_the_examples_are_cut(monkeypatch):
    net = cnn()
    split = Studio(net, (1, 8, 8)).test
    with units_of(net, "4", "mean") as units:
        whole = excitations(units, split)
        monkeypatch.setattr("mlbench.explain.feature_visualisation.units.AT_ONCE", 7)
        torch.testing.assert_close(excitations(units, split), whole)
    assert whole.shape == (64, 6)


@pytest.mark.parametrize(
    ("net", "path"),
    [
        (CNN((1, 8, 8), 3, [4, 6]), "4"),
        (MLP((1, 4, 4), 3, [8, 5]), "3"),
        (MLP((1, 4, 4), 3, []), "1"),
        (ResNet18((1, 8, 8), 3, width=2), "10.conv2"),
    ],
)
def test_the_default_layer(net, path):
    assert hidden(net) == path


def test_a_unit_that_the_default_layer_has_not_is_refused():
    with pytest.raises(SettingError, match="0 to 5"):
        configured(Filters, unit=6).check(cnn())


def test_what_a_run_leaves(mlbench, tmp_path):
    code, _, error = mlbench("explain=filters", "explain.steps=100", "explain.samples=300", *SMALL)
    assert code == 0, error
    folder = only_run(tmp_path / "out")
    metrics, rows = summary(folder)["metrics"], table(folder / "filters.csv")
    assert len(rows) == 6
    for name in ("synthesised", "top", "random"):
        mean = np.mean([float(row[f"{name}_activation"]) for row in rows])
        assert metrics[f"{name}_activation"] == pytest.approx(mean)
    assert metrics["synthesised_activation"] > metrics["random_activation"]
    assert metrics["top_activation"] > metrics["random_activation"]
    assert 0 <= metrics["synthesised_above_top"] <= 1
    assert {path.stem for path in (folder / "figures").glob("*.png")} == {"filters"}
