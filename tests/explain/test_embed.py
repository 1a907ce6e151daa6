"""Numbers of separation by hand, and what a run leaves."""

import csv

import numpy as np
import pytest

from mlbench.core.errors import SettingError, UserError
from mlbench.explain.representation.embed import PICTURES, Embed, agreement, silhouette
from mlbench.models.cnn import CNN
from tests.experiment.test_runs import only_run, summary
from tests.explain.test_runner import SMALL
from tests.techniques import configured


def test_silhouette_by_hand():
    x, labels = np.array([[0.0], [1.0], [10.0], [12.0]]), np.array([0, 0, 1, 1])
    own, other = np.array([1, 1, 2, 2]), np.array([11, 10, 9.5, 11.5])
    assert silhouette(x, labels) == pytest.approx(np.mean((other - own) / other))


def test_agreement_of_neighbours_by_hand():
    x = np.array([[0.0], [1.0], [2.1], [10.0]])
    assert agreement(x, np.array([0, 0, 1, 1]), 1) == pytest.approx((1 + 1 + 0 + 1) / 4)
    assert agreement(x, np.array([0, 0, 1, 1]), 2) == pytest.approx((0.5 + 0.5 + 0 + 0.5) / 4)


@pytest.mark.parametrize("kind", ["pca", "tsne"])
def test_clusters_stay_clusters_in_the_pictures(kind):
    draws = np.random.default_rng(0)
    labels = np.arange(60) % 3
    x = draws.normal(size=(60, 40)) + 8 * np.eye(40)[labels]
    points = PICTURES[kind](x, 0)
    assert points.shape == (60, 2)
    assert agreement(points, labels, 5) > 0.95
    np.testing.assert_array_equal(points, PICTURES[kind](x, 0))


def test_what_a_run_leaves(mlbench, tmp_path):
    code, _, error = mlbench("explain=embed", "explain.samples=100", *SMALL)
    assert code == 0, error
    folder = only_run(tmp_path / "out")
    with (folder / "layers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["network"], row["layer"]) for row in rows] == [
        ("trained", "0"),
        ("trained", "1"),
        ("trained", "2"),
        ("untrained", "1"),
        ("untrained", "2"),
    ]
    metrics = summary(folder)["metrics"]
    assert metrics["layer_2_neighbours"] > metrics["layer_2_untrained_neighbours"]
    with np.load(folder / "artefacts" / "embeddings.npz", allow_pickle=False) as file:
        assert file["tsne_2"].shape == (100, 2)
    assert {path.stem for path in (folder / "figures").glob("*.png")} == {"layers", "silhouette", "neighbours"}


def test_few_examples_of_one_class_have_no_silhouette(mlbench, tmp_path):
    pictures, labels = np.random.default_rng(0).integers(0, 256, (12, 8, 8), dtype=np.uint8), np.zeros(12, int)
    np.savez(tmp_path / "one.npz", x_train=pictures, y_train=labels, x_test=pictures, y_test=labels)
    code, _, error = mlbench("explain=embed", "data=npz", f"data.path={tmp_path / 'one.npz'}", "train.epochs=1")
    assert code == 0, error
    metrics = summary(only_run(tmp_path / "out"))["metrics"]
    assert metrics["top_neighbours"] == 1.0
    assert not any("silhouette" in name for name in metrics)


def test_the_most_frequent_values_are_shown(mlbench, tmp_path):
    assert mlbench("explain=embed", "explain.samples=50", "explain.frequent=2", "explain.pictures=[]", *SMALL)[0] == 0
    with np.load(only_run(tmp_path / "out") / "artefacts" / "embeddings.npz", allow_pickle=False) as file:
        assert len(np.unique(file["labels"])) == 2


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"samples": 5}, "samples"),
        ({"frequent": 1}, "frequent"),
        ({"neighbours": 0}, "neighbours"),
        ({"neighbours": 1000}, "neighbours"),
        ({"pictures": ["mds"]}, "pictures=mds: allowed is a list of pca, tsne, umap"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, named):
    with pytest.raises(SettingError, match=named):
        configured(Embed, **settings)


def test_a_missing_umap_is_reported_before_training(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "umap", None)
    with pytest.raises(UserError, match=r"mlbench\[umap\]"):
        configured(Embed, pictures=["umap"]).check(CNN((1, 8, 8), 3, [4]))


@pytest.mark.parametrize("method", ["embed", "probe"])
def test_a_network_without_layers_is_refused(mlbench, method):
    code, _, error = mlbench(f"explain={method}", "model=linear", "data=digits", "train.epochs=1")
    assert code == 2
    assert "no layers between input and output" in error
