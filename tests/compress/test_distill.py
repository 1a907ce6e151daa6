"""Distillation: averaged teachers, students of any kind, and classes that the student never sees."""

import copy
import csv
import math

import pytest
import scipy.stats
import torch
import torch.nn.functional as F
from scipy.optimize import minimize_scalar
from torch import nn

from mlbench.compress.base import Point
from mlbench.compress.distillation.distill import (
    Distill,
    Distillation,
    SoftLabels,
    best_bias,
    mean_logits,
    similarities,
)
from mlbench.core.errors import SettingError
from mlbench.data.augmentation import shift
from mlbench.data.datasets.digits import Digits
from mlbench.models.mlp import MLP
from mlbench.models.surgery import last_linear
from tests.compress.test_unstructured_pruning import Bench, network
from tests.conftest import random_split
from tests.experiment.test_runs import only_run, summary
from tests.techniques import configured


class Students(Bench):
    """The context of a method that builds students."""

    def build(self, blueprint):
        return MLP((1, 4, 4), 3, [5] if blueprint == "student" else [8])


def method(**settings):
    return configured(Distill, student="student", **{"finetune_epochs": 2, **settings})


def test_probabilities_are_averaged_not_logits():
    one, two = torch.tensor([[8.0, 0.0, 0.0]]), torch.tensor([[0.0, 2.0, 0.0]])
    expected = ((one / 3).softmax(1) + (two / 3).softmax(1)) / 2
    torch.testing.assert_close((mean_logits([one, two], 3.0) / 3).softmax(1), expected)
    assert not torch.allclose(((one + two) / 2 / 3).softmax(1), expected, atol=1e-2)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_the_loss_by_hand(alpha):
    net, teacher, batch = network([5]), network([8]).eval(), random_split(10).batch(torch.arange(10))
    with Distillation(method(alpha=alpha, temperature=3.0), net, [teacher]) as learner:
        found = learner.loss(net, batch)
    p, q = (teacher(batch.x) / 3).softmax(1), (net(batch.x) / 3).softmax(1)
    divergence = (p * (p.log() - q.log())).sum(1).mean()  # mean over the examples
    hard = F.cross_entropy(net(batch.x), batch.y)
    torch.testing.assert_close(found, alpha * 9 * divergence + (1 - alpha) * hard)
    found.backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_hints_compare_similarities_and_leave_no_hooks():
    net, teacher, batch = network([5]), network([8]).eval(), random_split(10).batch(torch.arange(10))
    plain, hinted = method(alpha=0.5), method(alpha=0.5, hint_strength=2.0)
    with Distillation(hinted, net, [teacher]) as learner:
        found = learner.loss(net, batch)
    own, other = (F.relu(each[1](batch.x.flatten(1))) for each in (net, teacher))
    rows = [g / g.norm(dim=1, keepdim=True) for g in (own @ own.T, other @ other.T)]
    with Distillation(plain, net, [teacher]) as learner:
        expected = learner.loss(net, batch) + 2 * (rows[0] - rows[1]).square().sum() / 100
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(similarities(own), rows[0])
    assert not any(layer._forward_pre_hooks for each in (net, teacher) for layer in each.modules())


def test_teachers_are_in_eval_mode_and_do_not_change():
    dense = nn.Sequential(*network(), nn.Dropout(0.5))
    context = Students(dense)
    before = copy.deepcopy(dense.state_dict())
    alone, student = list(method(ensemble=3).compress(Point("dense", dense), context))
    assert (alone.stage, student.stage) == ("student alone", "distilled")
    assert len(context.fits) == 4  # two more teachers, the student alone, the student
    assert not dense.training
    assert all(torch.equal(dense.state_dict()[name], value) for name, value in before.items())
    first, second = (context.fits[i][0].state_dict() for i in (2, 3))
    assert all(torch.equal(first[name], second[name]) for name in first)  # the same start
    assert student.blueprint == "student"


def test_the_best_bias_has_the_lowest_cross_entropy():
    net, split = network(), random_split(60, seed=3)
    batch = split.batch(torch.arange(60))
    logits = net(batch.x).detach().double()
    for classes in ([1], [0, 2]):

        def loss(value, classes=classes):
            raised = logits.clone()
            raised[:, classes] += value
            return F.cross_entropy(raised, batch.y).item()

        found = minimize_scalar(loss, bounds=(-20, 20), method="bounded", options={"xatol": 1e-9}).x
        assert best_bias(net, split, classes) == pytest.approx(found, abs=1e-5)
    with torch.no_grad():
        net[-1].bias[1] -= 30  # far below the others for every example
    raised = copy.deepcopy(net)
    with torch.no_grad():
        raised[-1].bias[1] += best_bias(net, split, [1])
    assert raised(batch.x).softmax(1)[:, 1].sum().item() == pytest.approx(int((batch.y == 1).sum()), rel=1e-3)
    alone = split.take((split.labels == 1).nonzero().squeeze(1))
    assert best_bias(net, alone, [1]) == best_bias(net, alone, [0]) == 0


def test_only_teachers_learn_from_dropped_classes():
    whole = Digits().stream(None, torch.Generator()).tasks[0]
    (task,) = Digits(drop_classes=[3, 8]).stream(None, torch.Generator()).tasks
    assert set(task.train.labels.tolist()) == {0, 1, 2, 4, 5, 6, 7, 9}
    assert set(task.dropped.labels.tolist()) == {3, 8}
    assert len(task.train) + len(task.dropped) == len(whole.train)
    assert torch.equal(task.test.labels, whole.test.labels)
    assert torch.equal(task.train.normalise.mean, whole.train.normalise.mean)
    for wrong in ([10], [-1], list(range(10))):
        with pytest.raises(SettingError):
            Digits(drop_classes=wrong).stream(None, torch.Generator())


def test_a_student_that_never_saw_a_class(mlbench, tmp_path):
    words = ("compress=distill", "data.drop_classes=[3]", "train.epochs=15", "threads=1")
    words += ("compress.alpha=1", "compress.temperature=8", "model.hidden=[100]")
    code, _, error = mlbench(*words)
    assert code == 0, error
    folder = only_run(tmp_path / "out")
    found = summary(folder)["metrics"]
    assert found["dropped_accuracy_student_alone"] == 0
    assert found["dropped_accuracy_dense"] > 0.8
    assert found["dropped_accuracy"] == found["dropped_accuracy_bias_raised"] > 0.5
    with (folder / "points.csv").open() as file:
        assert [row["stage"] for row in csv.DictReader(file)] == ["dense", "student alone", "distilled", "bias raised"]


def test_shift_moves_by_up_to_two_pixels_of_28():
    pictures = torch.zeros(200, 1, 28, 28, dtype=torch.uint8)
    pictures[:, 0, 14, 10] = 255
    found = shift(pictures, torch.Generator().manual_seed(0)).nonzero()[:, 2:]
    assert len(found) == 200
    assert sorted(set(found[:, 0].tolist())) == [12, 13, 14, 15, 16]
    assert sorted(set(found[:, 1].tolist())) == [8, 9, 10, 11, 12]


@pytest.mark.parametrize("words", [("lifelong=ewc", "data=split_digits"), ("lifelong=ewc", "data=feedback_digits")])
def test_streams_have_all_classes(mlbench, words):
    code, _, error = mlbench(*words, "data.source.drop_classes=[3]")
    assert code == 2
    assert "drop_classes" in error
    assert len(error.strip().splitlines()) <= 2


OUT_OF_RANGE = [{"temperature": 0}, {"temperature": math.inf}, {"alpha": 1.1}, {"ensemble": 0}]
OUT_OF_RANGE += [{"hint_strength": -1}, {"finetune_epochs": 0}]


@pytest.mark.parametrize("wrong", OUT_OF_RANGE)
def test_settings_out_of_range(wrong):
    with pytest.raises(SettingError):
        method(**wrong)
    assert last_linear(nn.Conv2d(1, 1, 1)) is None
    with pytest.raises(SettingError):
        method(hint_strength=1.0).check(nn.Conv2d(1, 1, 1))


def test_soft_labels_by_hand():
    """A linear teacher on random pictures: means, entropy and distances computed with plain loops."""
    torch.manual_seed(0)
    data, teacher = random_split(40, classes=3), network()
    found = SoftLabels.of([teacher.eval()], data, 5.0)
    batch = data.batch(torch.arange(40))
    with torch.no_grad():
        soft = (teacher(batch.x) / 5.0).softmax(1)
    assert found.changed == 0.0
    assert found.entropy == pytest.approx(-(soft * soft.log()).sum(1).mean().item(), rel=1e-5)
    centres = []
    for label in range(3):
        mine = batch.y == label
        torch.testing.assert_close(found.mean[label], soft[mine].mean(0))
        centres.append(batch.x[mine].flatten(1).mean(0))
    assert found.distance[0, 2].item() == pytest.approx((centres[0] - centres[2]).norm().item(), rel=1e-4)
    pairs = [(i, j) for i in range(3) for j in range(3) if i != j]
    seen, near = (
        [found.mean[i, j].item() for i, j in pairs],
        [-(centres[i] - centres[j]).norm().item() for i, j in pairs],
    )
    assert found.metrics()["soft_likeness"] == pytest.approx(scipy.stats.spearmanr(seen, near).statistic)


def test_a_class_without_examples_has_no_soft_labels_and_no_effect():
    torch.manual_seed(0)
    data = random_split(40, classes=3)
    data.labels[data.labels == 1] = 2
    found = SoftLabels.of([network().eval()], data, 2.0)
    assert found.mean.isfinite().all()
    assert found.mean[1].tolist() == [0, 0, 0]
    assert set(found.metrics()) == {"soft_entropy", "answers_changed"}  # two classes are too few to correlate


def test_a_temperature_can_change_what_several_teachers_answer():
    torch.manual_seed(0)
    data, teachers = random_split(40, classes=3), [MLP((1, 4, 4), 3, [8]).eval() for _ in range(3)]
    with torch.no_grad():
        for teacher in teachers:
            teacher[-1].weight.mul_(20)  # sure of answers that differ
        logits = [teacher(data.batch(torch.arange(40)).x) for teacher in teachers]
    means = [torch.stack([each.div(t).softmax(1) for each in logits]).mean(0) for t in (1.0, 50.0)]
    changed = (means[0].argmax(1) != means[1].argmax(1)).double().mean().item()
    assert 0 < changed < 1
    assert SoftLabels.of(teachers, data, 50.0).changed == pytest.approx(changed)


def test_higher_temperatures_flatten_the_answers():
    torch.manual_seed(0)
    data, teacher = random_split(40, classes=3), network().eval()
    entropies = [SoftLabels.of([teacher], data, temperature).entropy for temperature in (0.5, 1.0, 4.0, 100.0)]
    assert entropies == sorted(entropies)
    assert entropies[-1] == pytest.approx(math.log(3), abs=1e-3)
