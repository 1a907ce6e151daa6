"""The search for settings: on training pictures alone, and on seeds that nobody reports."""

import sys
from pathlib import Path

import numpy as np
import pytest

from mlbench.core.errors import UserError
from mlbench.data.datasets.digits import Digits
from mlbench.data.npz_format import read_npz

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
TINY = ("data.tasks=2", "data.train_per_task=60", "data.test_per_task=50", "train.epochs=1", "model.hidden=[8]")


@pytest.fixture
def tune(monkeypatch):
    """The script as a module."""
    pytest.importorskip("optuna")
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import tune

    return tune


def call(tune, monkeypatch, capfd, *words):
    monkeypatch.setattr(sys, "argv", ["tune.py", *words])
    code = tune.main()
    return code, *capfd.readouterr()


def test_no_test_picture_is_among_those_to_choose_by(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from development import write_development

    arrays = Digits().load(tmp_path)
    found = read_npz(write_development(arrays, tmp_path / "development.npz"))
    assert len(found.y_train) + len(found.y_test) == len(arrays.y_train)
    assert len(found.y_test) == round(len(arrays.y_train) / 6)
    pictures = lambda x: sorted(picture.numpy().tobytes() for picture in x)  # noqa: E731
    assert sorted(pictures(found.x_train) + pictures(found.x_test)) == pictures(arrays.x_train)
    assert np.array_equal(np.bincount(found.y_test) > 10, [True] * 10)


def test_a_search_goes_on_and_ends_in_a_command(tune, monkeypatch, capfd, tmp_path):
    words = ("lifelong=ewc", "data=permuted_digits", *TINY, f"--out={tmp_path}", "--seeds=100")
    words += ("--search=lifelong.strength=log(0.1,10)", "--search=train.batch_size=int(5,20)")
    code, text, error = call(tune, monkeypatch, capfd, *words, "--trials=1")
    assert code == 0, error
    assert "best (" in text
    code, text, error = call(tune, monkeypatch, capfd, *words, "--trials=2")
    assert code == 0, error
    assert text.count("lifelong.strength=") == 2, "one new trial and the command"
    assert f"mlbench lifelong=ewc data=permuted_digits {' '.join(TINY)} lifelong.strength=" in text
    (table,) = tmp_path.glob("*/trials.csv")
    assert len(table.read_text().splitlines()) == 3
    assert call(tune, monkeypatch, capfd, *words, "--trials=1", "--metric=forgetting", "--minimise")[0] == 0
    assert len(list(tmp_path.glob("*/trials.csv"))) == 2, "another metric is another search"
    (config,) = {path.read_text() for path in tmp_path.rglob("lifelong/*/*/.hydra/names.yaml")}
    assert "permuted_digits" in config


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--seeds=0,100", "--search=train.lr=log(0.1,1)"), "--seeds=0,100: allowed are whole numbers from 100"),
        (("--search=train.lr=0.1",), "allowed is NAME=log"),
        (("--search=train.lr=log(1,0.1)",), "the first number is the smaller one"),
        (("--search=train.lr=int(a,b)",), "int takes two numbers"),
        (("--search=train.lr=log(0.1,1)", "lifelong=ewk"), "did you mean 'ewc'"),
    ],
)
def test_mistakes_are_told(tune, monkeypatch, capfd, tmp_path, words, told):
    code, _, error = call(tune, monkeypatch, capfd, f"--out={tmp_path}", *words)
    assert code == 2
    assert told in error
    assert not list(tmp_path.rglob("*.db"))


def test_only_pictures_can_be_cut(tune, tmp_path):
    with pytest.raises(UserError):
        tune.development(["explain=probe"], tmp_path)


@pytest.mark.parametrize("data", ["split_digits", "feedback_digits", "planted"])
def test_whatever_is_made_of_a_dataset_gets_the_development_set(tune, tmp_path, data):
    words = tune.development([f"data={data}"], tmp_path)
    path = (tmp_path / "development.npz").resolve()
    assert words == [f"data={data}", "data.source=npz", f"data.source.path={path}"]
    assert tune.mlbench([*words, "--cfg", "job"]).returncode == 0
    assert tune.development(["data=digits"], tmp_path)[:2] == ["data=npz", f"data.path={path}"]
