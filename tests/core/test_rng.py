"""Draws that leave no trace: on the CPU, and on the card that a run computes on."""

import pytest
import torch

from mlbench.core.rng import apart
from mlbench.explain.attribution.randomisation import cascade
from mlbench.explain.base import input_gradient
from mlbench.explain.feature_visualisation.gan_prior import trained
from mlbench.lifelong.replay.generative_replay import VAE
from mlbench.training.compute import Compute
from mlbench.training.masked_lm import masked_accuracy
from tests.compress.test_runner import SMALL, only_run
from tests.conftest import random_split
from tests.explain.test_activations import split_of
from tests.explain.test_metrics import given
from tests.lifelong.test_generative_replay import replay
from tests.models.test_bert import TEXT, bert

CARD = torch.device("cuda:1")


@pytest.fixture
def cards(monkeypatch):
    """The states of the generators of two cards, by number; a seed stands for the state that it makes."""
    states = {0: "before", 1: "before"}
    number = lambda device: device if isinstance(device, int) else device.index  # noqa: E731
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: states[number(device)])
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: states.update({number(device): state}))
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: states.update(dict.fromkeys(states, seed)))
    return states


def test_draws_apart_are_the_seeds_own_and_leave_no_trace():
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    with apart(torch.device("cpu"), 7):
        drawn = torch.rand(3)
    with apart(torch.device("cpu")):
        torch.rand(3)
    assert torch.equal(torch.rand(2), expected)
    assert torch.equal(drawn, torch.rand(3, generator=torch.Generator().manual_seed(7)))


def test_the_generator_of_the_card_is_put_back(cards):
    with apart(CARD, 7):
        assert cards[1] == 7
    assert cards[1] == "before"


def test_a_new_generator_of_pictures_leaves_the_cards_dropout_alone(cards, monkeypatch):
    monkeypatch.setattr(VAE, "to", lambda net, device: net)
    method, _ = replay()
    method.compute = Compute(CARD)
    cards[1] = "where the run is"
    method.new_vae()
    assert cards[1] == "where the run is"


def test_cards_that_a_run_does_not_use_are_left_alone(cards, monkeypatch, mlbench, same_process, tmp_path):
    """torch starts every card, and warns of it, where it is not told which ones a run uses."""
    asked = []
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: asked.append(device))
    net, x, target, _ = given()
    cascade(net, x, target, input_gradient, 0)
    trained(random_split(64, shape=(1, 8, 8)), (1, 8, 8), 1, 3, 4, seed=0)
    masked_accuracy(bert(), split_of(torch.full((4, 12), 7)), TEXT)
    assert not asked
    assert mlbench("compress=measure", *SMALL)[0] == 0
    made = only_run(tmp_path / "out") / "checkpoints" / "model.safetensors"
    assert mlbench("compress=measure", *SMALL, f"checkpoint={made}")[0] == 0
    assert not asked
