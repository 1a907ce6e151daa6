"""Networks that wrap their logits, that cannot be trained, or that behave otherwise in training mode."""

import sys
from collections import namedtuple
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

import mlbench as package
from mlbench.models.logits import Logits, with_logits
from tests.experiment.test_runs import only_run, summary

pytestmark = pytest.mark.usefixtures("undrawn")  # nobody looks at the figures

SMALL = ("train.epochs=1", "train.batch_size=64", "threads=1")
Pair = namedtuple("Pair", ["aux", "main"])
HEAD = """
import dataclasses
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, input_shape, outputs):
        super().__init__()
        self.first, self.head, self.outputs = nn.Linear(64, 12), nn.Linear(12, outputs), outputs
        self.norm = nn.Identity()
"""
TUPLE = """
    def forward(self, x):
        hidden = self.first(x.flatten(1)).relu()
        return hidden, self.head(hidden)
"""
DICT = """
    def forward(self, x):
        hidden = self.first(x.flatten(1)).relu()
        out = self.head(hidden)
        return {"loss": None, "other": -out, "logits": out}
"""
IN_TRAINING = """
    def forward(self, x):
        out = self.head(self.first(x.flatten(1)).relu())
        return (out, out) if self.training else out
"""
NOTHING = """
    def forward(self, x):
        return {"hidden": self.first(x.flatten(1)), "n": 3}
"""
ASSERTION = """
    def forward(self, x):
        assert not self.training, "give me targets"
        return self.head(self.first(x.flatten(1)))
"""
KEY = """
    def forward(self, x):
        return self.head({}["mask"])
"""
DETACHED = """
    def forward(self, x):
        with torch.no_grad():
            return self.head(self.first(x.flatten(1)))
"""
NORM = """
        self.norm = nn.InstanceNorm1d(12, track_running_stats=True)
    def forward(self, x):
        return self.head(self.norm(self.first(x.flatten(1))[:, :, None])[:, :, 0])
"""
FROZEN = """
        self.requires_grad_(False)
    def forward(self, x):
        return self.head(self.first(x.flatten(1)))
"""
LAZY = """
        self.first = nn.LazyLinear(12)
    def forward(self, x):
        return self.head(self.first(x.flatten(1)))
"""


@dataclass
class Output:
    hidden: Tensor
    logits: Tensor


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A function that writes the user's own model and gives the words that choose it."""

    def write(forward: str) -> tuple[str, ...]:
        (tmp_path / "mine" / "model").mkdir(parents=True)
        (tmp_path / "mine" / "odd_net.py").write_text(HEAD + forward)
        (tmp_path / "mine" / "model" / "odd.yaml").write_text("# odd\n_target_: odd_net.Net\n")
        return ("--config-dir", str(tmp_path / "mine"), "model=odd", *SMALL)

    yield write
    sys.modules.pop("odd_net", None)


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda x: (x.new_zeros(len(x), 7), x),
        lambda x: [x],
        lambda x: {"logits": x, "a": -x},
        lambda x: {"a": -x, "logits": x},
        lambda x: {"a": None, "b": ("text", {"c": x})},
        lambda x: Output(x.new_zeros(len(x), 7), x),
        lambda x: Output(-x, x),
        lambda x: Pair(x.mean(1), x),
        lambda x: x,
    ],
)
def test_the_logits_are_found(wrapped):
    class Wraps(nn.Module):
        def forward(self, x):
            return wrapped(x)

    net, x = with_logits(with_logits(Wraps(), 3), 3), torch.randn(4, 3)
    assert torch.equal(net(x), x)
    assert len(net._forward_hooks) == 1
    assert not net.state_dict()


def test_what_came_instead_is_said():
    with pytest.raises(ValueError, match=r"dict\(hidden: \[2, 5\], parts: tuple\(0: \[2\], 1: int\)\)") as error:
        Logits(3)(None, (torch.zeros(2, 4),), {"hidden": torch.zeros(2, 5), "parts": (torch.zeros(2), 7)})
    assert "[B, 3]" in str(error.value)


@pytest.mark.parametrize(
    ("forward", "words"),
    [
        (IN_TRAINING, ()),
        (TUPLE, ("lifelong=ewc", "data=split_digits")),
        (DICT, ("compress=low_rank",)),
        (LAZY, ("compress=low_rank",)),
        (DICT, ("explain=saliency",)),
    ],
    ids=["plain", "lifelong", "compress", "lazy layers", "explain"],
)
@pytest.mark.usefixtures("same_process")
def test_a_run_with_a_network_that_wraps_its_logits(mlbench, tmp_path, own, forward, words):
    code, _, error = mlbench(*own(forward), *words)
    assert code == 0, error
    folder = only_run(tmp_path / "out")
    assert summary(folder)
    found = package.load(folder, tmp_path / "mine")(torch.zeros(2, 1, 8, 8))
    assert found.shape == (2, 10)


@pytest.mark.parametrize(
    ("forward", "told"),
    [
        (NOTHING, ["dict(hidden: [2, 12], n: int)", "[B, 10]"]),
        (ASSERTION, ["cannot be trained", "AssertionError: give me targets"]),
        (KEY, ["does not take", "KeyError: 'mask'"]),
        (DETACHED, ["cannot be trained", "does not require grad"]),
        (NORM, ["cannot be trained", "more than 1 spatial element"]),
        (FROZEN, ["all its parameters are frozen"]),
    ],
    ids=["nothing", "assertion", "key", "detached", "norm", "frozen"],
)
@pytest.mark.parametrize("words", [(), ("lifelong=ewc", "data=split_digits")], ids=["plain", "ewc"])
def test_a_network_that_cannot_be_trained_is_refused_in_a_line(mlbench, tmp_path, own, forward, told, words):
    code, _, error = mlbench(*own(forward), *words)
    assert (code, "Traceback" in error, len(error.strip().splitlines())) == (2, False, 1), error
    for part in (*told, "model=odd"):
        assert part in error
    assert not (tmp_path / "out").exists()
