"""What is said of a `resume=` that is no folder of a run, or of one whose files are not what a run writes."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from mlbench.core.config_groups import CHOICES
from mlbench.core.errors import UserError
from mlbench.experiment.resume import out_of, reopened
from mlbench.runs import layout, run_dir
from mlbench.runs.run_dir import Run

PUBLISHED = Path(__file__).parents[1] / "published" / "run"


def test_what_is_in_the_place_of_the_folder_is_said(tmp_path):
    run = tmp_path / "a run"
    for name in (layout.CONFIG, f"{layout.HYDRA}/{layout.GROUP_NAMES}", "checkpoints/last.pt"):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("{}")
    (tmp_path / "a.txt").touch()
    for place, told in (
        (tmp_path / "nowhere", "there is no such folder"),
        (tmp_path / "a.txt", "it is a file;"),
        (tmp_path, "there is no config.yaml"),
        (run / "checkpoints", "there is no config.yaml"),
        (run / "checkpoints" / "last.pt", f"it is a file of resume={run};"),
        (run / layout.CONFIG, f"it is a file of resume={run};"),
    ):
        with pytest.raises(UserError, match=f"^resume={place}: {told}"):
            reopened(place, OmegaConf.create({}), [])


@pytest.fixture
def run(tmp_path):
    """The folder of a run that was begun, as far as `resume=` reads it."""
    folder = tmp_path / "run"
    (folder / layout.HYDRA).mkdir(parents=True)
    shutil.copy(PUBLISHED / "config.yaml", folder)
    (folder / layout.HYDRA / layout.GROUP_NAMES).write_text("data: permuted_digits\nlifelong: ewc\nmodel: mlp\n")
    return folder


def again(folder):
    return reopened(folder, OmegaConf.create({}), [])


def test_the_settings_of_a_run_are_those_that_were_written(run):
    config, names = again(run)
    written = OmegaConf.load(PUBLISHED / "config.yaml")
    assert config == OmegaConf.merge(written, {"force": False, "out": str(run.parent)})
    assert names == {**dict.fromkeys(CHOICES), "data": "permuted_digits", "lifelong": "ewc", "model": "mlp"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("seed: ${oc.env:SECRET}", r"holds the interpolation seed=\$\{oc.env:SECRET\}"),
        ("model: {hidden: ['${seed}']}", r"holds the interpolation model.hidden.0=\$\{seed\}"),
        ("", "not a mapping"),
        ("[1]", "not a mapping"),
        ("text", "not a mapping"),
        ("data: 5", "no settings of data"),
        ("train: [1]", "no settings of train"),
        ("a: &a {b: *a}", "refers to itself"),
        ("a: !!python/object/apply:os.system [true]", "not valid YAML"),
        (f"seed: 1{'0' * 300}", "64 bits"),
        ("{: broken", "not valid YAML"),
        ("\ud800", "UTF-8"),
    ],
)
def test_a_config_that_is_none_is_refused_and_nothing_in_it_resolved(run, monkeypatch, text, told):
    monkeypatch.setenv("SECRET", "hush")
    (run / layout.CONFIG).write_text(text, errors="surrogatepass")
    with pytest.raises(UserError, match=told) as caught:
        again(run)
    assert str(caught.value).startswith(f"resume={run}: its config.yaml ")
    assert "hush" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[1]", "data: [1]", "data: {a: b}", "data: 3", "{: broken", "&a [*a]"])
def test_names_that_are_none_are_refused(run, text):
    path = run / layout.HYDRA / layout.GROUP_NAMES
    path.write_text(text)
    with pytest.raises(UserError, match=f"^resume={run}: {path} "):
        again(run)
    path.unlink()
    with pytest.raises(UserError, match=f"^resume={run}: {path} "):
        again(run)
    os.mkfifo(path)
    with pytest.raises(UserError, match=f"^resume={run}: {path} .*a FIFO"):
        again(run)


def test_a_config_names_no_other_place_to_write_to(tmp_path):
    """`out` is where the folder lies, wherever somebody else's config points."""
    folder = tmp_path / "results" / "plain" / "digits-mlp" / "1"
    folder.mkdir(parents=True)
    assert out_of(folder, str(tmp_path / "results")) == tmp_path / "results"
    assert out_of(folder, str(tmp_path / "victim")) == tmp_path / "results"
    (alone := tmp_path / "unpacked" / "run").mkdir(parents=True)
    assert out_of(alone, str(tmp_path / "victim")) == alone.parent


def test_a_state_of_another_kind_is_refused_in_a_line(mlbench, tmp_path, monkeypatch):
    save = Run.save

    def save_and_stop(run, state):
        save(run, state)
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "save", save_and_stop)
    monkeypatch.setattr(run_dir, "SAVE_SECONDS", 0.0)
    assert mlbench("train.epochs=2", "model.hidden=[4]")[0] == 130
    monkeypatch.setattr(Run, "save", save)
    (folder,) = tmp_path.glob("out/*/*/*")
    last = folder / "checkpoints" / "last.pt"
    good = torch.load(last, weights_only=True)
    network = {**good["network"], "weights": {}}
    progress = good["progress"]
    for changes in (
        {"metrics_bytes": "a"},
        {"network": network},
        {"progress": {**progress, "epoch": "one"}},
        {"draws": {}},
        {"draws": {**good["draws"], "batches": torch.zeros(3)}},
    ):
        torch.save({**good, **changes}, last)
        code, _, error = mlbench(f"resume={folder}", out=False)
        assert (code, f"{last} " in error, "to begin" in error) == (2, True, True), changes.keys()
    torch.save(good, last)
    assert mlbench(f"resume={folder}", out=False)[0] == 0
