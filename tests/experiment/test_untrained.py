"""The untrained network of a run: fresh weights, wherever those come from that its training begins with."""

import copy
import sys

import pytest
import torch

from mlbench.compress.pruning.unstructured import Prune
from mlbench.explain.runner import Explain
from mlbench.models.bert import Bert
from mlbench.models.cnn import CNN
from tests.techniques import configured

OWN = """
import torch
from mlbench.models.bert import Bert
from mlbench.models.cnn import CNN


class Loaded(CNN):
    def __init__(self, input_shape, outputs, file: str):
        super().__init__(input_shape, outputs, [4, 6])
        self.load_state_dict(torch.load(file))
"""
QUICK = ("explain=embed", "explain.samples=60", "explain.pictures=[]", "data=digits", "train.epochs=1", "threads=1")


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Words for a model of the user's own that loads a file of weights, and these weights."""
    mine = tmp_path / "mine"
    (mine / "model").mkdir(parents=True)
    torch.manual_seed(7)
    net = CNN((1, 8, 8), 10, [4, 6])
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter).mul(0.1))
        net[1].running_mean.add_(0.5)
    torch.save(net.state_dict(), mine / "weights.pt")
    (mine / "loaded.py").write_text(OWN)
    (mine / "model" / "loaded.yaml").write_text(f"_target_: loaded.Loaded\nfile: {mine / 'weights.pt'}\n")
    monkeypatch.delitem(sys.modules, "loaded", raising=False)
    return ("--config-dir", str(mine), "model=loaded"), copy.deepcopy(net.state_dict())


@pytest.fixture
def jobs(monkeypatch):
    """The runners that a command makes, with the state of their network before its training."""
    made, found = Explain.__post_init__, []

    def watched(job):
        made(job)
        found.append((job, copy.deepcopy(job.net.state_dict())))

    monkeypatch.setattr(Explain, "__post_init__", watched)
    return found


@pytest.mark.usefixtures("undrawn")
def test_a_class_that_loads_its_weights_has_an_untrained_network_with_others(mlbench, tmp_path, own, jobs):
    words, loaded = own
    code, _, error = mlbench(*QUICK, *words)
    assert code == 0, error
    assert error.count("model=loaded comes with weights; the untrained network has all of them drawn anew") == 1
    (file,) = (tmp_path / "out" / "store").glob("*.pt")
    code, _, error = mlbench(*QUICK, *words, f"checkpoint={file}")
    assert code == 0, error
    for job, _ in jobs:
        start, initial = job.start.state_dict(), job.initial.state_dict()
        assert not [name for name, _ in job.net.named_parameters() if torch.equal(start[name], loaded[name])]
        assert not start["1.running_mean"].any()
        assert all(torch.equal(initial[name], loaded[name]) for name in loaded)
        assert not job.start.training
        assert not job.initial.training
    ticket = configured(Prune, rewind="initial").rewind_target(job).state_dict()
    assert all(torch.equal(ticket[name], loaded[name]) for name in loaded), "training began from these"
    (one, _), (other, _) = jobs
    assert all(torch.equal(value, other.start.state_dict()[name]) for name, value in one.start.state_dict().items())


@pytest.mark.usefixtures("undrawn")
def test_a_network_drawn_by_the_seed_is_its_own_untrained_one(mlbench, jobs):
    code, _, error = mlbench(*QUICK, "model=cnn", "model.channels=[4,6]")
    assert code == 0, error
    ((job, before),) = jobs
    assert all(torch.equal(value, before[name]) for name, value in job.start.state_dict().items())
    assert "drawn anew" not in error


@pytest.mark.usefixtures("undrawn")
def test_the_weights_of_others_are_not_those_of_an_untrained_transformer(mlbench, tmp_path, jobs):
    torch.manual_seed(7)
    others = Bert((64,), 3, 500, 8, 1, 2, 0.0, None, 0, 1, 0.1).language
    with torch.no_grad():
        for parameter in others.parameters():
            parameter.add_(torch.randn_like(parameter).mul(0.1))
    others.save_pretrained(tmp_path / "others")
    few = ("data.train_sentences=40", "data.test_sentences=30", "threads=1")
    code, _, error = mlbench(*QUICK[:3], "data=grammar", "model=bert", f"model.pretrained={tmp_path / 'others'}", *few)
    assert code == 0, error
    ((job, before),) = jobs
    start, initial = job.start.state_dict(), job.initial.state_dict()
    assert not [name for name, _ in job.net.language.named_parameters(prefix="language") if same(name, start, before)]
    assert all(torch.equal(value, before[name]) for name, value in initial.items())
    assert (
        job.start.language.cls.predictions.decoder.weight is job.start.language.bert.embeddings.word_embeddings.weight
    )


def same(name, one, other):
    """Whether two states agree in a tensor."""
    return torch.equal(one[name], other[name])
