"""Files written before the modules moved: checkpoints and artefacts load, cached networks and finished runs are found.

All of tests/published was written at commit 7a86f99, whose `mlbench.load` also gave the logits in logits.npz.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

import mlbench
from mlbench.core.renamed import NEW_NAMES, current, published
from mlbench.runs.checkpoint import read_network

FILES = Path(__file__).parents[1] / "published"
LOGITS = np.load(FILES / "logits.npz")
SMALL = ("model.hidden=[8]", "data.train_examples=200", "train.epochs=1", "threads=1")


@pytest.mark.parametrize("name", LOGITS.files)
def test_a_file_loads_and_gives_the_same_logits(name):
    shape, draws = read_network(FILES / name)["input_shape"], torch.Generator().manual_seed(0)
    if name == "bert.pt":
        x = torch.randint(1, 20, (4, *shape), generator=draws)
    else:
        x = torch.randint(0, 256, (4, *shape), generator=draws)
        x = x.float() if name == "speech.pt" else x.to(torch.uint8)
    with torch.no_grad():
        logits = mlbench.load(FILES / name)(x)
    torch.testing.assert_close(logits, torch.from_numpy(LOGITS[name]), rtol=1e-5, atol=1e-5)


def test_every_kind_of_wrapping_and_changed_layer_is_among_the_files():
    packed = [read_network(FILES / name) for name in LOGITS.files]
    wrappings = {each["wrapping"]["_target_"] for each in packed if each["wrapping"]}
    assert wrappings == {
        "mlbench.compress.exits.Exits",
        "mlbench.lifelong.icarl.NearestMean",
        "mlbench.lifelong.progressive.Columns",
    }
    kinds = {layer["kind"] for each in packed for layer in (each["replaced"] or {}).values()}
    assert {"Int8Linear", "Sequential"} <= kinds


def test_a_network_cached_before_is_not_trained_again(mlbench, tmp_path, same_process):
    (cached,) = (FILES / "cache").glob("*.pt")
    (tmp_path / "out" / "store").mkdir(parents=True)
    shutil.copy(cached, tmp_path / "out" / "store")
    code, _, error = mlbench("compress=prune", *SMALL, "seed=1")
    assert code == 0, error
    assert "trained once" not in error
    assert [path.name for path in (tmp_path / "out" / "store").glob("*.pt")] == [cached.name]


def test_a_run_finished_before_is_not_run_again(mlbench, tmp_path, monkeypatch):
    monkeypatch.delenv("MLBENCH_DATA")  # the data directory is one of the settings that the folder's name is a hash of
    old = tmp_path / "out" / "lifelong" / "ewc-permuted_digits-mlp" / "26dfcd27c53de072"
    shutil.copytree(FILES / "run", old)
    words = ("lifelong=ewc", "data.tasks=2", "model.hidden=[6]", "data.train_per_task=100", "train.epochs=1")
    code, _, error = mlbench("-m", *words, "threads=1", "seed=1", "data_dir='~/.cache/mlbench'")
    assert code == 0, error
    assert f"finished before: {old.resolve()}" in error or f"finished before: {old}" in error


def test_a_saved_config_builds_todays_classes():
    config = OmegaConf.load(FILES / "run" / "config.yaml")
    assert config.lifelong._target_ == "mlbench.lifelong.ewc.EWC"
    assert current(config.lifelong._target_) == "mlbench.lifelong.regularisation.ewc.EWC"


def test_published_names_are_the_inverse_of_todays():
    for first, now in NEW_NAMES.items():
        config = {"model": [{"_target_": f"mlbench.{now}.Any", "width": 3}]}
        assert published(config) == {"model": [{"_target_": f"mlbench.{first}.Any", "width": 3}]}
    assert published({"_target_": "mine.Net"}) == {"_target_": "mine.Net"}
    assert current("torch.nn.Linear") == "torch.nn.Linear"
