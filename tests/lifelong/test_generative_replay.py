"""Generative replay: the autoencoder by hand, and what it and the network learn from generated pictures."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import expit

from mlbench.core.errors import RunError, SettingError
from mlbench.data.split import Split
from mlbench.lifelong.replay.generative_replay import VAE, GenerativeReplay, VAELearner
from mlbench.models.mlp import MLP
from mlbench.training.compute import Compute
from mlbench.training.loop import fit
from tests.lifelong.test_base import begin_method, learn, split_digits
from tests.training.test_theta import training

SETTINGS = {
    "replay_batch": 6,
    "latent": 4,
    "hidden": 32,
    "generator_steps": 40,
    "generator_batch": 20,
    "generator_lr": 0.003,
}


def replay(scenario="class", seed=0, **changes):
    stream = split_digits(scenario)
    return begin_method(GenerativeReplay(**{**SETTINGS, **changes}), stream, training(), seed), stream


def network(outputs):
    torch.manual_seed(0)
    return MLP((1, 8, 8), outputs, [12])


def weights(net):
    return torch.nn.utils.parameters_to_vector(net.parameters()).detach().clone()


def bound(vae, pictures, noise):
    """Minus the evidence lower bound of each picture, in numpy."""
    w = {name: value.detach().double().numpy() for name, value in vae.state_dict().items()}
    x = pictures.double().numpy().reshape(len(pictures), -1)
    hidden = np.maximum(x @ w["encode.1.weight"].T + w["encode.1.bias"], 0)
    codes = hidden @ w["encode.3.weight"].T + w["encode.3.bias"]
    mean, variance = codes[:, : vae.latent], np.exp(codes[:, vae.latent :])
    z = mean + np.sqrt(variance) * noise.double().numpy()
    hidden = np.maximum(z @ w["decode.0.weight"].T + w["decode.0.bias"], 0)
    p = expit(hidden @ w["decode.2.weight"].T + w["decode.2.bias"])
    reconstruction = -(x * np.log(p) + (1 - x) * np.log(1 - p)).sum(1)
    return reconstruction + 0.5 * (mean**2 + variance - 1 - np.log(variance)).sum(1)


def test_the_loss_of_the_autoencoder_is_the_evidence_lower_bound():
    torch.manual_seed(0)
    vae, pictures = VAE((2, 3, 3), 7, 4), torch.rand(5, 2, 3, 3)
    for parameter in vae.parameters():
        parameter.data.normal_(std=0.5)
    noise = torch.randn(5, 4, generator=torch.Generator().manual_seed(3))
    result = vae.loss(pictures, torch.Generator().manual_seed(3))
    assert result.item() == pytest.approx(bound(vae, pictures, noise).mean(), rel=1e-5)


def test_generated_pictures_are_decoded_codes():
    torch.manual_seed(0)
    vae = VAE((2, 3, 3), 7, 4)
    result = vae.sample(50, torch.Generator().manual_seed(3))
    codes = torch.randn(50, 4, generator=torch.Generator().manual_seed(3))
    assert result.shape == (50, 2, 3, 3)
    torch.testing.assert_close(result.flatten(1), vae.decode(codes).sigmoid())
    assert result.min() > 0
    assert result.max() < 1
    assert not result.requires_grad


@pytest.mark.parametrize("scenario", ["class", "domain"])
def test_generated_pictures_are_labelled_by_the_old_network(scenario):
    """Among the classes that it had learned, however large its other outputs are."""
    method, stream = replay(scenario)
    net = network(stream.outputs)
    learn_two(method, stream, net)
    solver = network(stream.outputs)
    solver.load_state_dict(net.state_dict())
    with torch.no_grad():
        for module in (net, method.solver):
            module[-1].bias[4:] += 100.0
    method.generator.manual_seed(5)
    batch = method.generate(60)
    raw = method.vae.sample(60, torch.Generator().manual_seed(5)) * 255
    torch.testing.assert_close(batch.x, method.normalise(raw))
    expected = solver(batch.x)[:, : 4 if scenario == "class" else 2].argmax(1)
    assert torch.equal(batch.y, expected)
    assert len(batch.y.unique()) > 1
    assert not batch.x.requires_grad


def learn_two(method, stream, net):
    tasks, stream.tasks = stream.tasks, stream.tasks[:2]
    learn(method, stream, net, training(epochs=3))
    stream.tasks = tasks
    stream.heads.begin_task(2)


@pytest.mark.parametrize("scenario", ["class", "domain"])
def test_every_task_counts_the_same(scenario):
    """The third task a third, the generated pictures of two tasks two thirds, whatever the sizes of the batches."""
    method, stream = replay(scenario)
    net = network(stream.outputs)
    batch = stream.tasks[0].train.batch(torch.arange(9))
    stream.heads.begin_task(0)
    torch.testing.assert_close(method.loss(net, batch), F.cross_entropy(method.logits(net, batch), batch.y))
    learn_two(method, stream, net)
    new = stream.tasks[2].train.batch(torch.arange(9))
    before = method.samples_replayed
    method.generator.manual_seed(5)
    result = method.loss(net, new)
    assert method.samples_replayed == before + 6
    method.generator.manual_seed(5)
    old = method.generate(6)
    met = 6 if scenario == "class" else 2
    expected = F.cross_entropy(net(new.x)[:, :met], new.y) / 3 + 2 * F.cross_entropy(net(old.x)[:, :met], old.y) / 3
    torch.testing.assert_close(result, expected)
    assert [method.replay_ratio(task) for task in range(2)] == [0, 6 / 8]


@pytest.mark.parametrize("share", [1.0, 0.25])
def test_a_generator_learns_old_tasks_from_the_old_generator(share):
    stream = replay()[1]
    data, old, new = stream.tasks[0].train, VAE((1, 8, 8), 7, 4), VAE((1, 8, 8), 7, 4)
    batch = data.batch(torch.arange(9))
    result = VAELearner(old, data.normalise, share, torch.Generator().manual_seed(2)).loss(new, batch).item()
    draws = torch.Generator().manual_seed(2)
    noise = torch.randn(9, 4, generator=draws)
    expected = share * bound(new, data.raw(torch.arange(9)) / 255, noise).mean()
    if share < 1:
        samples = old.sample(9, draws)
        expected += (1 - share) * bound(new, samples, torch.randn(9, 4, generator=draws)).mean()
    assert result == pytest.approx(expected, rel=1e-4)


def test_the_autoencoder_learns_the_digits():
    """It rebuilds them far better than pixels at their mean do, and its samples are nearer to them than noise is."""
    torch.manual_seed(0)
    vae, draws = VAE((1, 8, 8), 128, 10), torch.Generator().manual_seed(0)
    union = Split.union([task.train for task in split_digits("domain", train_per_task=None).tasks])
    x = union.raw(torch.arange(len(union))) / 255
    learner = VAELearner(vae, union.normalise, 1.0, draws)
    fit(vae, union, learner, training(epochs=25, batch_size=64, optimizer="adam", lr=0.003), Compute(), draws)
    best, independent = (
        F.binary_cross_entropy(guess, x, reduction="sum").item() / len(x) for guess in (x, x.mean(0).expand_as(x))
    )
    mean, _ = vae.encode(x).chunk(2, 1)
    rebuilt = F.binary_cross_entropy(vae.decode(mean).sigmoid(), x.flatten(1), reduction="sum").item() / len(x)
    assert rebuilt - best < 0.6 * (independent - best)
    assert vae.loss(x, draws).item() < independent
    samples = vae.sample(2000, draws)
    assert (samples.mean(0) - x.mean(0)).abs().max() < 0.15
    nearest = torch.cdist(samples.flatten(1), x.flatten(1)).min(1).values.mean()
    noise = torch.cdist(torch.rand(2000, 64), x.flatten(1)).min(1).values.mean()
    assert nearest < 0.5 * noise


def test_each_task_ends_with_a_new_generator_and_the_networks_answers():
    method, stream = replay(generator_steps=7)
    seen, seeds = [weights(method.vae)], []

    def compare(number, net, _):
        assert method.learned == number + 1
        assert torch.equal(weights(method.solver), weights(net))
        assert not any(parameter.requires_grad for parameter in method.solver.parameters())
        seen.append(weights(method.vae))
        seeds.append(weights(method.new_vae()))

    learn(method, stream, network(10), training(), compare)
    assert len({w.norm().item() for w in (*seen, *seeds)}) == 1 + 5 + 5


def test_the_generator_begins_from_the_seed_of_the_run():
    assert torch.equal(weights(replay(seed=1)[0].vae), weights(replay(seed=1)[0].vae))
    assert not torch.equal(weights(replay(seed=1)[0].vae), weights(replay(seed=2)[0].vae))
    before = torch.get_rng_state()
    replay(seed=3)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("augment", ["none", "crop_flip"])
def test_a_generator_takes_its_steps_whatever_the_training_of_the_network(augment, monkeypatch):
    """Seven steps are three epochs of three batches; validation, schedule and decay are not for it."""
    method, stream = replay(generator_steps=7)
    method.training = training(validation=0.5, patience=1, weight_decay=1.0, schedule="cosine", augment=augment)
    calls = []
    loss = VAE.loss
    monkeypatch.setattr(VAE, "loss", lambda vae, *given: (calls.append(len(given[0])), loss(vae, *given))[1])
    method.end_task(network(10), None, stream.tasks[0])
    assert calls == [20] * 9


def test_a_restored_state_generates_the_same_pictures():
    method, stream = replay()
    net = network(10)
    learn_two(method, stream, net)
    saved = method.state()
    again, _ = replay()
    again.load_state(saved, network(10))
    again.generator.set_state(method.generator.get_state())
    for result, expected in zip(again.generate(9), method.generate(9), strict=True):
        assert torch.equal(result, expected)
    assert torch.equal(weights(again.new_vae()), weights(method.new_vae()))


def test_a_generator_that_diverges_names_its_own_setting():
    method, stream = replay(generator_lr=1000.0)
    with pytest.raises(RunError, match=r"try a smaller lifelong\.generator_lr"):
        method.end_task(network(10), None, stream.tasks[0])


@pytest.mark.parametrize(
    ("name", "value"),
    [("latent", 0), ("hidden", 0), ("generator_steps", 0), ("generator_lr", 0.0), ("replay_batch", 0)],
)
def test_settings_out_of_range_are_refused(name, value):
    with pytest.raises(SettingError, match=name):
        GenerativeReplay(**{**SETTINGS, name: value})
