"""On real data, when it is there: what the project promises, in the shortest form that still shows it."""

import json

import numpy as np
import pytest

from mlbench.data.datasets.torchvision import Vision

pytestmark = pytest.mark.real


def summaries(folder):
    return {f.parent.parent.name.partition("-")[0]: json.loads(f.read_text()) for f in folder.rglob("summary.json")}


def test_mnist_is_read_as_it_is(real):
    arrays = Vision(name="mnist").load(real("mnist.npz"))
    assert arrays.x_train.shape == (60_000, 1, 28, 28)
    assert np.bincount(arrays.y_test.numpy()).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_gem_beats_finetuning_on_permuted_mnist(real, mlbench, tmp_path):
    place = f"data_dir={real('mnist.npz')}"
    small = ("data.tasks=8", "data.test_per_task=1000", place)
    assert mlbench("experiment=gem_permuted_mnist", "lifelong=gem", "lifelong.memory_total=1024", *small)[0] == 0
    assert mlbench("experiment=gem_permuted_mnist", "lifelong=finetune", "train.lr=0.03", *small)[0] == 0
    found = summaries(tmp_path / "out")
    gem, finetune = (found[name]["metrics"] for name in ("gem", "finetune"))
    assert gem["average_accuracy"] > 0.75
    assert gem["backward_transfer"] > -0.02
    assert gem["average_accuracy"] > finetune["average_accuracy"] + 0.05


def test_lenet5_learns_mnist(real, mlbench, tmp_path):
    place = f"data_dir={real('mnist.npz')}"
    words = ("data=mnist", "model=lenet5", "train.epochs=1", "train.batch_size=64", "train.lr=0.01")
    assert mlbench(*words, "train.momentum=0.9", place)[0] == 0
    (folder,) = (tmp_path / "out" / "plain").glob("mnist-lenet5/*")
    assert json.loads((folder / "summary.json").read_text())["metrics"]["accuracy"] > 0.97


@pytest.fixture
def cifar10(real, tmp_path):
    """Ten classes of CIFAR-100 laid out as cifar10.npz: the command for CIFAR-10 on real pictures."""
    with np.load(real("cifar100.npz") / "cifar100.npz", allow_pickle=False) as file:
        parts = {}
        for split in ("train", "test"):
            chosen = file[f"y_{split}"] < 10
            parts[f"x_{split}"], parts[f"y_{split}"] = file[f"x_{split}"][chosen], file[f"y_{split}"][chosen]
        np.savez(tmp_path / "cifar10.npz", **parts, classes=file["classes"][:10])
    return tmp_path


@pytest.mark.parametrize("method", ["gem", "ewc"])
def test_split_cifar_with_a_residual_network(cifar10, mlbench, tmp_path, method):
    words = (f"lifelong={method}", "data=split_cifar", "model=resnet18", "model.width=4", "train.epochs=1")
    small = ("data.train_per_task=100", "data.test_per_task=50", f"data_dir={cifar10}")
    extra = "lifelong.memory_total=50" if method == "gem" else "lifelong.samples=20"
    assert mlbench(*words, *small, extra)[0] == 0
    assert 0.4 < summaries(tmp_path / "out")[method]["metrics"]["average_accuracy"] <= 1


def test_split_cifar_default_model(cifar10, mlbench, tmp_path):
    words = ("lifelong=gem", "data=split_cifar", "data.train_per_task=100")
    code, text, error = mlbench(*words, f"data_dir={cifar10}")
    assert code == 0, error
    assert "estimate: about" in error
    assert "average_accuracy" in text


def test_twenty_permutations_of_mnist_cost_one_copy(real):
    import torch

    from mlbench.data.scenarios.streams import Permuted

    limits = {"train_per_task": None, "test_per_task": None, "task_order": "fixed", "order_seed": None}
    data = Permuted(source=Vision(name="mnist"), tasks=20, scenario="domain", **limits)
    stream = data.stream(real("mnist.npz"), torch.Generator())
    assert len({task.train.pool.examples.data_ptr() for task in stream.tasks}) == 1
    assert sum(len(task.train) for task in stream.tasks) == 20 * 60_000
