"""On a CUDA device, where there is one: the same numbers as on the CPU."""

import json

import pytest
import torch

from tests.experiment.test_runs import METHODS, SMALL, folders

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("model", [["model.hidden=[16]"], ["model=cnn", "model.channels=[8]"]], ids=["mlp", "cnn"])
def test_cuda_agrees_with_the_cpu(mlbench, tmp_path, method, model):
    small = [word for word in SMALL if not word.startswith("model")]
    for device in ("cpu", "cuda"):
        code, _, error = mlbench(f"lifelong={method}", *small, *model, f"device={device}", "train.optimizer=adam")
        assert code == 0, error
    first, second = (json.loads((f / "summary.json").read_text())["metrics"] for f in folders(tmp_path / "out"))
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert value == pytest.approx(second[name], abs=0.1), name


def test_bf16_and_deterministic_run(mlbench):
    assert (
        mlbench("device=cuda", "precision=bf16", "deterministic=true", "model=cnn", "train.augment=crop_flip")[0] == 0
    )
