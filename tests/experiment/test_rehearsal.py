"""Odd networks under every sort of technique, by the command line: a run from end to end, or a refusal at once."""

import importlib
import json
import sys

import numpy as np
import pytest
import torch

from mlbench.core.config_groups import entries
from mlbench.experiment.rehearsal import few
from mlbench.runs.checkpoint_file import read_tensors
from tests.compress.odd_networks import NETWORKS

pytestmark = pytest.mark.usefixtures("undrawn")  # nobody looks at the figures

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

class Halves(nn.Module):
    """Has no gradient by its input."""

    def __init__(self, shape, outputs):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), head(8, outputs))

    def forward(self, x):
        return self.net(x.half()).float() if x.requires_grad else self.net(x)

class Forgetful(Halves):
    """Computes with numbers that no file holds."""

    def __init__(self, shape, outputs):
        super().__init__(shape, outputs)
        self.secret = torch.randn(outputs)

    def forward(self, x):
        return super().forward(x) + self.secret

MORE = {"dict": Dict, "strict": Strict, "branching": Branching, "halves": Halves, "forgetful": Forgetful}

class Odd(nn.Module):
    """The network of that name."""

    def __init__(self, input_shape: tuple, outputs: int, name: str):
        raise AssertionError

    def __new__(cls, input_shape, outputs, name):
        return (NETWORKS | MORE)[name](input_shape, outputs)
'''
ODD = [*NETWORKS, "dict", "strict", "branching"]
CLOCKS = ("speedup", "seconds_per_image", "peak_bytes")
SHORT = {
    "generative_replay": ["lifelong.generator_steps=2", "data.scenario=class"],
    "distill": ["model@compress.student=linear", "compress.alone=false"],
    "deep_compression": [],
    "icarl": ["data.scenario=class"],
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


UNSTABLE = ("branching", "standard")  # what becomes of them depends on the numbers that training makes


def check(mlbench, mine, out, family, technique, network):
    """The command runs to its end, or it is refused in a line or two before there is a folder."""
    code, _, error = call(mlbench, mine, family, technique, network)
    assert "Traceback" not in error, error
    if code == 0:
        assert list(out.glob("*/*/*/summary.json"))
    elif network not in UNSTABLE:
        assert (code, out.exists(), len(error.strip().splitlines()) <= 2) == (2, False, True), error
    return code


@pytest.mark.slow
@pytest.mark.parametrize("network", ODD)
@pytest.mark.parametrize(("family", "technique"), TECHNIQUES)
@pytest.mark.usefixtures("same_process")
def test_every_technique_takes_or_refuses_every_network(mlbench, mine, tmp_path, family, technique, network):
    check(mlbench, mine, tmp_path / "out", family, technique, network)


QUICK = {  # one of each sort
    "lifelong": ["ewc", "gem", "packnet", "progressive", "icarl", "generative_replay", "derpp"],
    "compress": ["prune", "prune_neurons", "cluster", "low_rank", "int8", "ternary", "early_exit", "distill"],
    "explain": ["saliency", "gradcam", "probe", "embed", "maximise"],
}
SOME = [
    (family, names[number % len(names)], network)
    for family, names in QUICK.items()
    for number, network in enumerate(ODD[:: 2 if family == "compress" else 3])
]


@pytest.mark.parametrize(("family", "technique", "network"), SOME)
@pytest.mark.usefixtures("same_process")
def test_techniques_of_every_sort_take_or_refuse_odd_networks(mlbench, mine, tmp_path, family, technique, network):
    check(mlbench, mine, tmp_path / "out", family, technique, network)


EXITS_FIRST = ["compress.stages=[early_exit,prune_neurons]"]


@pytest.mark.parametrize(
    ("family", "technique", "network", "words", "told"),
    [
        ("explain", "saliency", "halves", [], "explain=saliency cannot be used with this network (Input type"),
        ("explain", "saliency", "halves", [], ", in net.0 (Conv2d))"),
        ("compress", "measure", "forgetful", [], "rebuilt from its file it gives other outputs"),
        (
            "compress",
            "chain",
            "prelu",
            EXITS_FIRST,
            "compress=chain, stage prune_neurons: compress=prune_neurons: examples",
        ),
        (
            "lifelong",
            "progressive",
            "standard",
            [],
            "progressive cannot be used with this network (the loss became nan",
        ),
        ("compress", "prune_neurons", "branching", [], "not every example passes"),
        ("explain", "embed", "branching", [], "layer one is not reached by all examples"),
        ("lifelong", "ewc", "strict", [], "model=odd cannot be trained on this data (AssertionError: for inference"),
    ],
)
@pytest.mark.usefixtures("same_process")
def test_what_fails_in_the_rehearsal_is_told_before_there_is_a_folder(
    mlbench, mine, tmp_path, family, technique, network, words, told
):
    code, _, error = call(mlbench, mine, family, technique, network, *words)
    assert (code, told in error, (tmp_path / "out").exists()) == (2, True, False), error


STUMBLING = """
from dataclasses import dataclass
from mlbench.lifelong.base import Method

@dataclass
class Stumbling(Method):
    hook: str

    def adjust(self, net, theta):
        assert self.hook != "adjust", "cannot adjust"

    def after_step(self, net, theta, step_size):
        assert self.hook != "after_step", "cannot step"

    def end_task(self, net, theta, task):
        assert self.hook != "end_task", "cannot end"

    def predictor(self, net, task):
        assert self.hook != "predictor" or task == 0, "cannot answer"
        return net
"""


@pytest.mark.parametrize(
    ("hook", "told"),
    [("adjust", "adjust"), ("after_step", "step"), ("end_task", "end"), ("predictor", "answer")],
)
def test_all_hooks_of_a_lifelong_method_are_rehearsed(mlbench, tmp_path, hook, told):
    mine = tmp_path / "mine"
    (mine / "lifelong").mkdir(parents=True)
    (mine / "stumbling.py").write_text(STUMBLING)
    (mine / "lifelong" / "stumbling.yaml").write_text(f"_target_: stumbling.Stumbling\nhook: {hook}\n")
    code, _, error = mlbench("--config-dir", str(mine), "lifelong=stumbling", "data=split_digits")
    sys.modules.pop("stumbling", None)
    assert (code, (tmp_path / "out").exists()) == (2, False), error
    assert f"lifelong=stumbling cannot be used with this network (AssertionError: cannot {told})" in error


@pytest.mark.parametrize(
    ("family", "words"),
    [
        (
            "lifelong",
            ["lifelong=generative_replay", "data=rotated_digits", "data.tasks=2", "lifelong.generator_steps=2"],
        ),
        ("compress", ["compress=prune", "compress.importance=taylor", "compress.step=null"]),
        ("explain", ["explain=smoothgrad", "explain.samples=2", "data=digits"]),
    ],
)
@pytest.mark.usefixtures("same_process")
def test_a_rehearsal_changes_no_number_of_the_run(mlbench, tmp_path, monkeypatch, family, words):
    found = []
    for out in ("with", "without"):
        code, _, error = mlbench(*words, "train.epochs=1", "threads=1", f"out={tmp_path / out}", out=False)
        assert code == 0, error
        (folder,) = (tmp_path / out).glob(f"{family}/*/*")
        metrics = json.loads((folder / "summary.json").read_text())["metrics"]
        weights = read_tensors(folder / "checkpoints" / "model.safetensors")["weights"]
        found.append({name: v for name, v in metrics.items() if not name.endswith(CLOCKS)} | weights)
        monkeypatch.setattr(importlib.import_module(f"mlbench.{family}.runner"), "rehearse", lambda *about: None)
    assert found[0].keys() == found[1].keys()
    for name, value in found[0].items():
        assert torch.equal(torch.as_tensor(value), torch.as_tensor(found[1][name])), name


def test_large_networks_are_rehearsed_with_fewer_examples(split):
    small, large = torch.nn.Linear(4, 4), torch.nn.Linear(2000, 2000)
    assert (len(few(split(10), small)), len(few(split(10), large)), len(few(split(1), small))) == (4, 2, 1)
    assert len(few(split(3, shape=(3, 512, 512)), small)) == 2
