"""Classes without examples, balanced draws, and where the constants of the normalisation come from."""

from collections import Counter

import numpy as np
import pytest
import torch

from mlbench.core.errors import SettingError, UserError
from mlbench.data.class_counts import ClassCounts
from mlbench.data.datasets.digits import Digits
from mlbench.data.datasets.npz import Npz
from mlbench.data.scenarios.feedback import Feedback
from mlbench.data.scenarios.streams import Permuted, Rotated, SplitClasses
from mlbench.data.split import drawn


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def sequence(kind, source, **changes):
    values = {"source": source, "tasks": 5, "train_per_task": None, "test_per_task": None, "task_order": "fixed"}
    extra = {
        SplitClasses: {"scenario": "task", "class_order": "fixed"},
        Permuted: {"scenario": "domain"},
        Rotated: {"scenario": "domain", "max_angle": 180.0},
    }
    return kind(**{**values, "order_seed": None, **extra[kind], **changes}).stream(None, generator())


@pytest.fixture
def npz(tmp_path):
    """A function that writes an npz with these training and test labels and gives back the source."""

    def write(y_train, y_test, **more):
        rng = np.random.default_rng(0)
        pictures = {
            f"x_{part}": rng.integers(0, 256, (len(y), 6, 6), dtype=np.uint8)
            for part, y in (("train", y_train), ("test", y_test))
        }
        path = tmp_path / "own.npz"
        np.savez(path, **pictures, y_train=np.array(y_train), y_test=np.array(y_test), **more)
        return Npz(path=str(path))

    return write


@pytest.mark.parametrize(("size", "counts"), [(4, [2, 2]), (6, [3, 3]), (8, [3, 5]), (13, [3, 10]), (99, [3, 90])])
def test_a_balanced_draw_takes_equally_many_of_each_class_while_there_are_some(size, counts):
    labels = torch.tensor([0] * 3 + [1] * 90)[torch.randperm(93, generator=generator(5))]
    places = drawn(labels, size, True, generator())
    assert len(set(places.tolist())) == len(places)
    assert torch.bincount(labels[places]).tolist() == counts


def test_an_unbalanced_draw_is_the_first_of_a_permutation():
    labels = torch.arange(50) % 7
    assert torch.equal(drawn(labels, 20, False, generator(3)), torch.randperm(50, generator=generator(3))[:20])


def test_streams_and_plain_data_can_be_balanced():
    for task in sequence(SplitClasses, Digits(), train_per_task=20, test_per_task=6, balanced=True).tasks:
        assert torch.bincount(task.train.labels).tolist() == [10, 10]
        assert torch.bincount(task.test.labels).tolist() == [3, 3]
    (task,) = Digits(train_examples=55, balanced=True).stream(None, generator()).tasks
    assert sorted(torch.bincount(task.train.labels).tolist()) == [5] * 5 + [6] * 5


@pytest.mark.parametrize(
    ("y_train", "tasks", "missing"),
    [([1, 2, 3] * 4, 2, "training example of class 0,"), ([0, 2, 5, 7] * 3, 4, "class 1, 3, 4, 6,")],
)
def test_classes_without_examples_are_not_divided_among_tasks(npz, y_train, tasks, missing):
    with pytest.raises(UserError, match=missing):
        sequence(SplitClasses, npz(y_train, y_train), tasks=tasks)


def test_a_class_without_a_test_example_is_not_divided_among_tasks(npz):
    with pytest.raises(UserError, match="no test example of class 3,"):
        sequence(SplitClasses, npz([0, 1, 2, 3] * 3, [0, 1, 2]), tasks=2)


def counts_of(stream, number=0):
    task = stream.tasks[number]
    return ClassCounts.of(stream, number, task.train, task.validation)


def test_counts_are_those_of_the_labels(npz):
    source = npz([0, 0, 1, 2, 2, 2], [0, 2], classes=np.array(["a", "b", "c", "d"]))
    counts = counts_of(source.stream(None, generator()))
    assert counts.rows() == [
        ["all classes", "a", 2, 0, 1],
        ["all classes", "b", 1, 0, 0],
        ["all classes", "c", 3, 0, 1],
        ["all classes", "d", 0, 0, 0],
    ]
    assert counts.empty() == ["all classes: no training example of d", "all classes: no test example of b, d"]
    assert counts.majority == ("c", 0.5)
    counts.check()


@pytest.mark.parametrize("scenario", ["task", "domain", "class"])
@pytest.mark.parametrize("kind", [SplitClasses, Permuted])
@pytest.mark.parametrize("order", ["fixed", [3, 1, 5, 2, 4]])
def test_every_task_counts_its_own_classes(kind, scenario, order):
    stream = sequence(kind, Digits(), scenario=scenario, task_order=order)
    labels = Counter(Digits().load(None).y_train.tolist())
    for number in range(5):
        counts = counts_of(stream, number)
        assert dict(zip(counts.classes, counts.train.tolist(), strict=True)) == {
            name: labels[int(name)] for name in counts.classes
        }
        if kind is SplitClasses:
            assert counts.classes == counts.task.split()
        else:
            assert len(counts.classes) == 10


def test_one_class_alone_is_refused(npz):
    stream = npz([0, 1, 1], [1, 1]).stream(None, generator())
    with pytest.raises(UserError, match="all test examples are of class 1, so there is nothing to tell apart"):
        counts_of(stream).check()


def raw_mean(pictures):
    return pictures.double().mean().item()


def test_first_task_uses_nothing_of_the_future():
    arrays = Digits().load(None)
    stream = sequence(SplitClasses, Digits(normalise="first_task"), task_order=[2, 1, 3, 4, 5])
    first = stream.tasks[0].train
    own = first.raw(first.places).double()
    for task in stream.tasks:
        for split in (task.train, task.test):
            assert split.normalise.mean.item() == pytest.approx(own.mean().item(), rel=1e-6)
            assert split.normalise.std.item() == pytest.approx(own.std(correction=0).item(), rel=1e-6)
    second = (arrays.y_train == 2) | (arrays.y_train == 3)  # the second pair of classes comes first
    assert own.mean().item() == pytest.approx(raw_mean(arrays.x_train[second]))
    everything = sequence(SplitClasses, Digits()).tasks[0].train.normalise.mean.item()
    assert everything == pytest.approx(raw_mean(arrays.x_train), rel=1e-6)


def test_first_task_of_rotations_and_of_feedback():
    rotated = sequence(Rotated, Digits(normalise="first_task"), train_per_task=50)
    first = rotated.tasks[0].train
    shown = first.raw(first.places).double()
    assert rotated.tasks[3].test.normalise.mean.item() == pytest.approx(shown.mean().item(), rel=1e-6)
    settings = {"drift": "noise", "severity": 1.0, "rounds": 2, "original": 100, "per_round": 30}
    feedback = {"test_per_task": None, "feedback": "errors", "feedback_rate": 0.5}
    stream = Feedback(source=Digits(normalise="first_task"), **settings, **feedback).stream(None, generator())
    first = stream.tasks[0].train
    assert stream.tasks[2].train.normalise.mean.item() == pytest.approx(raw_mean(first.raw(first.places)), rel=1e-6)


def test_first_task_is_for_streams():
    with pytest.raises(SettingError, match="first_task is for streams"):
        Digits(normalise="first_task").stream(None, generator())


def test_one_class_that_is_left_by_dropping_is_refused():
    stream = Digits(drop_classes=list(range(1, 10))).stream(None, generator())
    with pytest.raises(UserError, match="of class 0, so there is nothing"):
        counts_of(stream).check()
