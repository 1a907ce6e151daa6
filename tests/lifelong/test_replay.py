"""Replay: the content of the buffer, the draws of each step, and the losses by hand."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import chisquare
from torch import nn

from mlbench.core.errors import SettingError
from mlbench.data.augmentation import AUGMENTATIONS
from mlbench.data.normalisation import Normalise
from mlbench.data.output_heads import GrowingHead, OwnHeads, SharedHead
from mlbench.data.split import Pool, Split
from mlbench.data.stream import Stream, Task
from mlbench.data.task_transforms import Permutation
from mlbench.lifelong.replay.agem import AGEM
from mlbench.lifelong.replay.der import DER
from mlbench.lifelong.replay.derpp import DERPP
from mlbench.lifelong.replay.er import ER
from mlbench.lifelong.replay.gdumb import GDumb
from mlbench.lifelong.stored_examples import StoredExamples
from mlbench.models.mlp import MLP
from mlbench.training.compute import Compute
from mlbench.training.theta import Theta
from tests.lifelong.test_base import begin_method, learn, split_digits
from tests.training.test_theta import training

HEADS = {"task": lambda: OwnHeads(3), "domain": SharedHead, "class": lambda: GrowingHead(3, 6)}


def numbered(task, labels):
    """A task whose pictures are their own unique numbers."""
    count = len(labels)
    pictures = torch.zeros(count, 1, 2, 2, dtype=torch.uint8)
    pictures[:, 0, 0, 0], pictures[:, 0, 1, 1] = torch.arange(count).to(torch.uint8), task
    normalise = Normalise(torch.tensor([3.0]), torch.tensor([2.0]))
    return Split(Pool(pictures), torch.arange(count), torch.as_tensor(labels), task, normalise)


def names(memory):
    """(task, number) of each stored picture."""
    return [(int(p[0, 1, 1]), int(p[0, 0, 0])) for p in memory.pictures]


def groups_of(buffer):
    """How many stored examples each label of each task has."""
    pairs = torch.stack([buffer.examples.tasks, buffer.examples.labels])
    return pairs.unique(dim=1, return_counts=True)[1]


def replay(kind, heads="domain", batch_size=8, augment="none", seed=0, **settings):
    """A method at the start of a stream of three random tasks."""
    method = kind(**settings)
    tasks = [Task("", numbered(i, [0]), numbered(i, [0])) for i in range(3)]
    stream = Stream(tasks, heads, 6, [], HEADS[heads]())
    method.begin(stream, training(batch_size=batch_size, augment=augment), Compute(), torch.Generator())
    method.generator.manual_seed(seed)
    return method


def er(policy="reservoir", total=10, **settings):
    return replay(ER, memory_total=total, replay_batch=settings.pop("replay_batch", None), policy=policy, **settings)


def fill(method, *splits, net=None):
    for split in splits:
        method.end_task(net, None, SimpleNamespace(train=split))


def test_balanced_shares_alike_and_keeps_the_first_of_each_label_in_order():
    tasks = torch.tensor([0] * 9 + [1] * 5)
    labels = torch.tensor([0, 0, 1, 0, 1, 0, 0, 2, 0, 1, 1, 0, 1, 1])
    pictures = torch.arange(14).to(torch.uint8).reshape(-1, 1, 1, 1)
    memory = StoredExamples(pictures, labels, tasks, torch.arange(14.0)[:, None])
    for count in range(1, 20):
        kept = memory.balanced(count)
        # against filling up one label after the other, round after round
        rounds = [
            [i for i in range(14) if (tasks[i], labels[i]) == (tasks[i], labels[i])
             and sum((tasks[j], labels[j]) == (tasks[i], labels[i]) for j in range(i)) == turn]
            for turn in range(14)
        ]  # fmt: skip
        expected = sorted([i for members in rounds for i in members][:count])
        assert kept.pictures.flatten().tolist() == expected
        assert torch.equal(kept.labels, labels[expected])
        assert torch.equal(kept.tasks, tasks[expected])
        assert kept.outputs.flatten().tolist() == expected


@pytest.mark.parametrize("method", ["er", "gdumb"])
def test_a_balanced_buffer_is_balanced_where_labels_are_rare(method):
    """A rare label is not lost by drawing first and sharing out afterwards."""
    labels = [0] * 60 + [1] * 20 + [2] * 4
    for seed in range(5):
        if method == "er":
            result = er("balanced", 12, seed=seed)
            fill(result, numbered(0, labels))
        else:
            result = GDumb(memory_total=12, epochs=1, schedule="constant")
            result.buffer.generator = torch.Generator().manual_seed(seed)
            result.start_task(MLP((1, 2, 2), 3, []), SimpleNamespace(train=numbered(0, labels)))
        assert result.buffer.examples.labels.bincount().tolist() == [4, 4, 4]


def test_balanced_replay_shares_the_buffer_among_labels_and_tasks():
    method, before = er("balanced", 12), []
    for task, sizes in enumerate(([12], [4, 4, 4], [3, 3, 3, 3])):
        fill(method, numbered(task, {0: [0] * 20, 1: [0, 1] * 20, 2: [5] * 20}[task]))
        result = names(method.buffer.examples)
        groups = torch.stack([method.buffer.examples.tasks, method.buffer.examples.labels]).unique(
            dim=1, return_counts=True
        )[1]
        assert groups.tolist() == sizes
        assert {name for name in result if name[0] < task} <= set(before)  # what was thrown away is gone
        before = result


@pytest.mark.parametrize("policy", ["reservoir", "balanced"])
def test_buffer_holds_raw_pictures_once_within_capacity(split, policy):
    method, data = er(policy, 25), [split(count, task, seed=task) for task, count in enumerate((7, 40, 13, 1))]
    seen = 0
    for task in data:
        fill(method, task)
        seen += len(task)
        memory = method.buffer.examples
        assert len(memory) == min(25, seen)
        assert memory.pictures.dtype == torch.uint8
        assert len(memory.pictures.flatten(1).unique(dim=0)) == len(memory)
        for picture, label, number in zip(memory.pictures, memory.labels, memory.tasks, strict=True):
            place = (data[number].pool.examples == picture).flatten(1).all(1).nonzero().item()
            assert label == data[number].labels[place]


def test_buffer_holds_transformed_pictures(split):
    data = split(6)
    data.transform = lambda pictures, task: 255 - pictures
    method = er("reservoir")
    fill(method, data)
    raw = {tuple((255 - picture).flatten().tolist()) for picture in data.pool.examples}
    assert {tuple(picture.flatten().tolist()) for picture in method.buffer.examples.pictures} == raw


def test_reservoir_keeps_every_example_seen_with_the_same_chance():
    """Tasks of 3, 11, 2 and 6 examples, 5 places: how often each of the 22 stays, and how many of the last."""
    tasks = [numbered(task, [0] * count) for task, count in enumerate((3, 11, 2, 6))]
    counts, old = {}, []
    for seed in range(3000):
        method = er("reservoir", 5, seed=seed)
        fill(method, *tasks)
        for name in names(method.buffer.examples):
            counts[name] = counts.get(name, 0) + 1
        old.append(sum(task == 3 for task, _ in names(method.buffer.examples)))
    assert len(counts) == 22
    # 5 of 22 without replacement: the counts vary less than a multinomial's, by (22 - 5) / 21
    statistic = chisquare(list(counts.values())).statistic / (17 / 21)
    assert 6 < statistic < 45  # 21 degrees of freedom: 0.001 and 0.998
    assert np.mean(old) == pytest.approx(5 * 6 / 22, abs=0.07)
    assert np.var(old) == pytest.approx(5 * (6 / 22) * (16 / 22) * 17 / 21, rel=0.12)  # hypergeometric


def test_er_joins_stored_examples_to_the_new_ones(split):
    method = er(replay_batch=5)
    new = split(8, task=2, seed=9).batch(torch.arange(8))
    assert method.batch(new) is new
    assert method.samples_replayed == 0
    fill(method, split(30, task=0, seed=1), split(30, task=1, seed=2))
    method.generator.manual_seed(3)
    joined = method.batch(new)
    index = torch.randint(10, (5,), generator=torch.Generator().manual_seed(3))
    assert torch.equal(joined.x[:8], new.x)
    assert torch.equal(joined.x[8:], method.normalise(method.buffer.examples.pictures[index]))
    assert torch.equal(joined.y, torch.cat([new.y, method.buffer.examples.labels[index]]))
    assert torch.equal(joined.task, torch.cat([new.task, method.buffer.examples.tasks[index]]))
    method.batch(new)
    assert method.samples_replayed == 10
    assert [method.replay_ratio(task) for task in range(3)] == [0, 5 / 8, 5 / 8]
    assert [er().replay_ratio(task) for task in range(2)] == [0, 1]


def test_replayed_examples_keep_the_head_of_their_task(split):
    method = er(heads="task", total=30)
    fill(method, split(15, task=0, seed=1), split(15, task=1, seed=2))
    torch.manual_seed(0)
    net = MLP((1, 4, 4), 9, [5])
    batch = method.batch(split(8, task=2, seed=3).batch(torch.arange(8)))
    rows = net(batch.x)
    expected = torch.stack([row[3 * t : 3 * t + 3] for row, t in zip(rows, batch.task.tolist(), strict=True)])
    torch.testing.assert_close(method.logits(net, batch), expected, rtol=0, atol=0)
    assert batch.task.unique().tolist() == [0, 1, 2]


def test_replayed_pictures_are_augmented_as_new_ones_are(split):
    method = er(augment="crop_flip", total=30, replay_batch=20)
    fill(method, split(30))
    method.generator.manual_seed(5)
    stored = method.draw()
    batch = method.buffer.batch(stored)
    draws = torch.Generator().manual_seed(5)
    torch.randint(30, (20,), generator=draws)
    expected = method.normalise(AUGMENTATIONS["crop_flip"](stored.pictures, draws))
    assert torch.equal(batch.x, expected)
    assert not torch.equal(batch.x, method.normalise(stored.pictures))


@pytest.mark.parametrize("kind", [ER, GDumb])
def test_stored_pictures_are_augmented_before_the_task_permutes_them(split, kind):
    """As new ones are, which `Split.batch` makes; permuted pixels that are shifted afterwards are noise."""
    orders = torch.stack([torch.randperm(16, generator=torch.Generator().manual_seed(task)) for task in range(3)])
    task = replace(split(30, task=1), transform=Permutation(orders))
    own = {"replay_batch": 30, "policy": "reservoir"} if kind is ER else {"epochs": 1, "schedule": "constant"}
    settings = {"memory_total": 30} | own
    method = kind(**settings)
    stream = Stream([Task("", task, task)] * 3, "domain", 6, [], HEADS["domain"]())
    method.begin(stream, training(augment="crop_flip"), Compute(), torch.Generator().manual_seed(0))
    if kind is ER:
        fill(method, task)
        state = method.generator.get_state()
        stored = method.draw()
        result = method.buffer.batch(stored)
        pictures, draws = stored.pictures, torch.Generator().set_state(state)
        torch.randint(30, (30,), generator=draws)
    else:
        method.start_task(MLP((1, 4, 4), 6, [5]), SimpleNamespace(train=task))
        pictures, draws = method.buffer.examples.pictures, torch.Generator().manual_seed(5)
        shown = method.examples(task)
        result = shown.batch(shown.places, lambda x: AUGMENTATIONS["crop_flip"](x, torch.Generator().manual_seed(5)))
    rows = [int((task.pool.examples == picture).flatten(1).all(1).nonzero()[0, 0]) for picture in pictures]
    index = torch.tensor([task.rows.tolist().index(row) for row in rows])
    expected = task.batch(index, lambda x: AUGMENTATIONS["crop_flip"](x, draws))
    assert torch.equal(result.x, expected.x)
    assert result.y.tolist() == expected.y.tolist()


@pytest.mark.parametrize("heads", HEADS)
@pytest.mark.parametrize("kind", [DER, DERPP])
def test_dark_replay_is_the_formula_of_the_paper(split, kind, heads):
    """Eq. 5 and 6 with the same draws, one example after the other."""
    beta = {"beta": 0.4} if kind is DERPP else {}
    method = replay(kind, heads, memory_total=20, replay_batch=6, policy="reservoir", alpha=0.3, **beta)
    torch.manual_seed(0)
    net, new = MLP((1, 4, 4), 6, [5]), split(8, task=1, seed=9).batch(torch.arange(8))
    plain = F.cross_entropy(method.logits(net, new), new.y)
    torch.testing.assert_close(method.loss(net, new), plain)
    fill(method, split(15, task=0, seed=1), net=net)
    then = net(method.normalise(method.buffer.examples.pictures)).detach()
    torch.testing.assert_close(method.buffer.examples.outputs, then)
    assert not method.buffer.examples.outputs.requires_grad
    for parameter in net.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    method.generator.manual_seed(7)
    result = method.loss(net, new)
    draws = torch.Generator().manual_seed(7)
    first = torch.randint(15, (6,), generator=draws)
    now = net(method.normalise(method.buffer.examples.pictures))
    cut = {"task": slice(0, 3), "domain": slice(0, 6), "class": slice(0, 6)}[heads]
    expected = F.cross_entropy(net(new.x)[:, 3:] if heads == "task" else net(new.x), new.y)
    expected = expected + 0.3 * torch.stack([(now[i, cut] - then[i, cut]).square().mean() for i in first]).mean()
    if kind is DERPP:
        second = torch.randint(15, (6,), generator=draws)
        labels = method.buffer.examples.labels
        expected = expected + 0.4 * torch.stack([-now[i, cut].log_softmax(0)[labels[i]] for i in second]).mean()
    torch.testing.assert_close(result, expected)
    result.backward()
    assert method.samples_replayed == (12 if kind is DERPP else 6)
    assert method.replay_ratio(1) == (12 if kind is DERPP else 6) / 8


@pytest.mark.parametrize("policy", ["reservoir", "balanced"])
def test_stored_logits_stay_with_their_pictures(split, policy):
    """The outputs are those of the task's end, whatever happens to the network and the memory afterwards."""
    method = replay(DER, memory_total=20, replay_batch=6, policy=policy, alpha=0.3)
    nets = []
    for task in range(3):
        torch.manual_seed(task)
        nets.append(MLP((1, 4, 4), 6, [5]))
        fill(method, split(30, task, seed=task), net=nets[-1])
    memory = method.buffer.examples
    for picture, task, outputs in zip(memory.pictures, memory.tasks, memory.outputs, strict=True):
        torch.testing.assert_close(nets[task](method.normalise(picture[None]))[0], outputs)
    assert memory.tasks.unique().tolist() == [0, 1, 2]


def agem(split, heads="domain", **settings):
    method = replay(AGEM, heads, training().batch_size, memory_total=30, replay_batch=settings.pop("replay_batch", 200))
    torch.manual_seed(0)
    net = MLP((1, 4, 4), 6, [5])
    data = [split(40, task, seed=task) for task in range(2)]
    method.normalise = data[0].normalise
    theta = Theta(net)
    method.start(net, theta)
    return method, net, theta, data


@pytest.mark.parametrize("heads", HEADS)
def test_agem_projects_onto_the_gradient_of_the_whole_buffer(split, heads):
    method, net, theta, data = agem(split, heads)
    theta.grad.normal_()
    before = theta.grad.clone()
    method.adjust(net, theta)
    assert torch.equal(theta.grad, before)  # nothing to remember yet
    fill(method, *data, net=net)
    assert method.buffer.examples.tasks.bincount().tolist() == [10, 10]
    index = torch.randint(20, (200,), generator=torch.Generator().set_state(method.generator.get_state()))
    assert set(index.tolist()) == set(range(20))  # all of all tasks can be drawn
    parts = []
    for i in index.tolist():
        stored = method.buffer.examples.take(torch.tensor([i])).batch(method.normalise)
        loss = F.cross_entropy(method.logits(net, stored), stored.y)
        grads = torch.autograd.grad(loss, list(net.parameters()))
        parts.append(torch.cat([g.flatten() for g in grads]))
    reference = torch.stack(parts).mean(0)
    g = before - 2 * reference * (before @ reference + 1).abs() / (reference @ reference)
    state = method.generator.get_state()
    theta.grad.copy_(g)
    method.adjust(net, theta)
    expected = g - (g @ reference) / (reference @ reference) * reference
    torch.testing.assert_close(theta.grad, expected, rtol=1e-4, atol=1e-5)
    assert abs(float(theta.grad @ reference)) < 1e-4 * float(g.norm() * reference.norm())
    method.generator.set_state(state)
    theta.grad.copy_(-g)
    method.adjust(net, theta)
    assert torch.equal(theta.grad, -g)  # along the reference: left alone
    assert method.samples_replayed == 400


def test_agem_takes_the_reference_with_the_statistics_of_its_batch(split):
    """As a group's are in GEM; by running averages, which lag, gradients can be larger by orders of magnitude."""
    method, _, _, data = agem(split, replay_batch=20)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 6))
    theta = Theta(net)
    fill(method, *data, net=net)
    state = method.generator.get_state()
    averages = net[2].running_mean.clone()
    theta.grad.fill_(1.0)
    method.adjust(net, theta)
    result, before = theta.grad.clone(), torch.ones_like(theta.grad)
    method.generator.set_state(state)
    old = method.buffer.draw(20).batch(method.normalise)
    hidden = net[1](old.x.flatten(1))
    normed = (hidden - hidden.mean(0)) / (hidden.var(0, unbiased=False) + net[2].eps).sqrt()
    loss = F.cross_entropy(method.heads(net[4]((normed * net[2].weight + net[2].bias).relu()), old.task), old.y)
    reference = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(net.parameters()))])
    product = before @ reference
    expected = before - min(product, torch.tensor(0.0)) / (reference @ reference) * reference
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)
    method.generator.set_state(state)
    theta.grad.copy_(-before)
    method.adjust(net, theta)
    other = -before - min(-product, torch.tensor(0.0)) / (reference @ reference) * reference
    torch.testing.assert_close(theta.grad, other, rtol=1e-4, atol=1e-5)
    assert torch.equal(net[2].running_mean, averages)


@pytest.mark.parametrize("size", [1.0, 1e-19, 1e12])
def test_agem_projects_whatever_the_size_of_the_reference(split, monkeypatch, size):
    """g - (g . r / r . r) r does not depend on the norm of r."""
    method, net, theta, data = agem(split)
    fill(method, *data, net=net)
    cross_entropy = F.cross_entropy
    monkeypatch.setattr(F, "cross_entropy", lambda *given: size * cross_entropy(*given))
    old = method.buffer.examples.batch(method.normalise)
    method.draw = lambda: method.buffer.examples
    loss = cross_entropy(method.logits(net, old), old.y)
    reference = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(net.parameters()))])
    theta.grad.copy_(-reference)
    method.adjust(net, theta)
    assert theta.grad.norm() < 1e-3 * reference.norm()


def test_a_task_buffer_has_an_example_of_each_task_at_least(split):
    method, net, _, data = agem(split)
    method.buffer.capacity = 2
    fill(method, *data, net=net)
    assert method.buffer.examples.tasks.tolist() == [0, 1]


def test_agem_draws_anew_at_each_step(split):
    method, net, theta, data = agem(split, replay_batch=None)
    fill(method, *data, net=net)
    against = -torch.autograd.grad(
        F.cross_entropy(net(method.buffer.examples.batch(method.normalise).x), method.buffer.examples.labels),
        list(net.parameters()),
    )[0].flatten()
    projected = []
    for _ in range(3):
        theta.grad.zero_()[: len(against)] = against
        method.adjust(net, theta)
        projected.append(theta.grad.clone())
    assert not torch.equal(projected[0], projected[1])
    assert method.samples_replayed == 3 * 8  # train.batch_size
    assert [method.replay_ratio(task) for task in range(2)] == [0, 1]


def test_gdumb_learns_a_fresh_network_from_its_buffer_alone():
    """At every task from the same weights, and from examples that were in the memory before or come with the task."""
    stream, settings = split_digits("domain"), training()
    method, starts, stored = (
        begin_method(GDumb(memory_total=20, epochs=1, schedule="constant"), stream, settings),
        [],
        [],
    )
    torch.manual_seed(0)
    net = MLP((1, 8, 8), 2, [8])
    initial = torch.nn.utils.parameters_to_vector(net.parameters()).detach().clone()
    begin = method.start_task

    def start(net, task):
        net = begin(net, task)
        starts.append(torch.nn.utils.parameters_to_vector(net.parameters()).detach().clone())
        data = method.examples(task.train)
        pictures = {tuple(p.flatten().tolist()) for p in data.raw(torch.arange(len(data)))}
        fresh = {tuple(p.flatten().tolist()) for p in task.train.raw(torch.arange(len(task.train)))}
        assert pictures <= fresh | (stored[-1] if stored else set())
        assert len(data) == len(method.buffer) == len(pictures) == 20
        counts = torch.stack([method.buffer.examples.tasks, method.buffer.examples.labels]).unique(
            dim=1, return_counts=True
        )[1]
        assert counts.max() - counts.min() <= 1
        stored.append(pictures)
        return net

    method.start_task = start
    learn(method, stream, net, settings)
    assert len(starts) == 5
    assert all(torch.equal(weights, initial) for weights in starts)


def test_gdumb_examples_keep_their_heads():
    stream, settings = split_digits("task"), training()
    method = begin_method(GDumb(memory_total=20, epochs=1, schedule="constant"), stream, settings)
    net = MLP((1, 8, 8), 10, [8])
    for task in stream.tasks[:3]:
        method.start_task(net, task)
    data = method.examples(stream.tasks[2].train)
    assert data.tasks(torch.arange(20)).unique().tolist() == [0, 1, 2]
    batch = data.batch(torch.arange(20))
    expected = torch.stack([row[2 * t : 2 * t + 2] for row, t in zip(net(batch.x), batch.task.tolist(), strict=True)])
    torch.testing.assert_close(method.logits(net, batch), expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "value"), [("memory_total", 0), ("replay_batch", 0), ("alpha", -1.0), ("beta", float("inf"))]
)
def test_settings_out_of_range_are_refused(name, value):
    settings = {"memory_total": 5, "replay_batch": 3, "policy": "reservoir", "alpha": 0.1, "beta": 0.1}
    with pytest.raises(SettingError, match=name):
        DERPP(**{**settings, name: value})
