"""Odd networks under every sort of technique, by the command line: a run from end to end, or a refusal at once."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from mlbench.compress import runner as compress_runner
from mlbench.core.config_groups import entries
from mlbench.experiment import rehearsal
from tests.compress.odd_networks import NETWORKS

MODULE = '''
import torch
from torch import nn
from tests.compress.odd_networks import NETWORKS, Tuple, head

class Dict(Tuple):
    """Gives a dict."""

    def forward(self, x):
        features, logits = super().forward(x)
        return {"features": features, "logits": logits}

class Strict(Tuple):
    """Cannot be trained."""

    def forward(self, x):
        assert not self.training, "for inference alone"
        return super().forward(x)

class Branching(nn.Module):
    """Takes another way for dark pictures."""

    def __init__(self, shape, outputs):
        super().__init__()
        self.one, self.two, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 5), head(8, outputs)

    def forward(self, x):
        return self.head((self.one(x) if x.mean() > 0 else self.two(x)).relu())

class Norms(nn.Module):
    """Fails inside a layer that only training in small batches reaches: the second batch."""

    def __init__(self, shape, outputs):
        super().__init__()
        self.net, self.calls = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), head(8, outputs)), 0

    def forward(self, x):
        return self.net(x.half()).float() if x.requires_grad else self.net(x)

MORE = {"dict": Dict, "strict": Strict, "branching": Branching, "norms": Norms}

class Odd(nn.Module):
    """The network of that name."""

    def __init__(self, input_shape: tuple, outputs: int, name: str):
        raise AssertionError

    def __new__(cls, input_shape, outputs, name):
        return (NETWORKS | MORE)[name](input_shape, outputs)
'''
ODD = [*NETWORKS, "dict", "strict", "branching"]
SHORT = {
    "generative_replay": ["lifelong.generator_steps=2"],
    "distill": ["model@compress.student=linear", "compress.alone=false"],
    "deep_compression": ["compress.methods.cluster.bits=2"],
    "prune": ["compress.step=null"],
    "maximise": ["explain.steps=2"],
    "probe": ["explain.epochs=1"],
    "invert": ["explain.epochs=1"],
    "baselines": ["explain.forest=2", "explain.depths=[2]"],
    "embed": ["explain.pictures=[pca]"],
    "smoothgrad": ["explain.copies=2"],
    "integrated_gradients": ["explain.steps=2"],
}
TECHNIQUES = [(family, name) for family in ("lifelong", "compress", "explain") for name in sorted(entries(family))]
TECHNIQUES = [each for each in TECHNIQUES if each[1] not in ("chain", "mend")]


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """A folder for --config-dir with all odd networks, and pictures of four classes for them."""
    folder = tmp_path_factory.mktemp("mine")
    (folder / "model").mkdir()
    (folder / "odd.py").write_text(MODULE)
    (folder / "model" / "odd.yaml").write_text("_target_: odd.Odd\nname: ???\n")
    draws = np.random.default_rng(0)
    y = np.arange(120) % 4
    x = draws.integers(0, 100, (120, 16, 16, 3), dtype=np.uint8)
    for number in range(4):
        x[y == number, 4 * number : 4 * number + 4] += 120
    np.savez(folder / "four.npz", x_train=x[:80], y_train=y[:80], x_test=x[80:], y_test=y[80:])
    yield folder
    sys.modules.pop("odd", None)


def call(mlbench, mine, family, technique, network, *words):
    """The command, on the odd network."""
    data = ["data=split_npz", f"data.source.path={mine / 'four.npz'}", "data.tasks=2"]
    if family != "lifelong":
        data = ["data=npz", f"data.path={mine / 'four.npz'}"]
    short = [*SHORT.get(technique, []), *(["compress.finetune_epochs=1"] if family == "compress" else [])]
    if technique in ("huffman", "measure", "chain", "deep_compression"):
        short.remove("compress.finetune_epochs=1")
    model = ["model=odd", f"model.name={network}"]
    if family == "explain" and technique in ATTRIBUTIONS:
        short.append("explain.samples=2")
    return mlbench(
        "--config-dir", str(mine), f"{family}={technique}", *data, *model, *short,
        "train.epochs=1", "train.batch_size=16", "threads=1", "device=cpu", *words,
    )  # fmt: skip


ATTRIBUTIONS = (
    "captum", "gradcam", "guided_backprop", "input_x_gradient", "integrated_gradients", "kernel_shap", "lime",
    "occlusion", "saliency", "smoothgrad",
)  # fmt: skip


def check(mlbench, mine, out, family, technique, network):
    """The command runs to its end, or it is refused in a line before there is a folder; whether it ran."""
    code, _, error = call(mlbench, mine, family, technique, network)
    with open("/tmp/rehearse/conf.log", "a") as f: print(f"CONF {family}={technique} {network} {code} {error.strip() if code else ''}", file=f)
    assert "Traceback" not in error, error
    if code == 0:
        assert list(out.glob("*/*/*/summary.json"))
        return True
    assert code == 2, error
    assert not out.exists(), error
    assert len(error.strip().splitlines()) <= 2, error
    return False


@pytest.mark.slow
@pytest.mark.parametrize("network", ODD)
@pytest.mark.parametrize(("family", "technique"), TECHNIQUES)
@pytest.mark.usefixtures("same_process")
def test_every_technique_takes_or_refuses_every_network(mlbench, mine, tmp_path, family, technique, network):
    check(mlbench, mine, tmp_path / "out", family, technique, network)
