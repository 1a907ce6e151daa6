"""Learning from the outputs of an earlier network: distillation, LwF and iCaRL, each by hand."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import expit, rel_entr, softmax

import mlbench as package
from mlbench.core.errors import SettingError
from mlbench.lifelong.regularisation.lwf import LwF
from mlbench.lifelong.replay.icarl import ICaRL, NearestMean, herding, normalised_features
from mlbench.lifelong.stored_examples import StoredExamples
from mlbench.models.cnn import CNN
from mlbench.models.mlp import MLP
from mlbench.training.losses import distillation
from tests.lifelong.test_base import begin_method, learn, split_digits
from tests.training.test_theta import training


def network(outputs, seed=0):
    torch.manual_seed(seed)
    return MLP((1, 8, 8), outputs, [12])


def moved(net):
    """The network after something has changed it."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return net


@pytest.mark.parametrize("shape", [(5, 4), (5, 3, 4)])
@pytest.mark.parametrize("temperature", [1.0, 2.0, 7.5])
def test_distillation_is_the_divergence_times_the_squared_temperature(shape, temperature):
    draws = torch.Generator().manual_seed(0)
    student, teacher = (3 * torch.randn(*shape, generator=draws) for _ in range(2))
    p, q = (softmax(z.double().numpy() / temperature, -1) for z in (teacher, student))
    expected = temperature**2 * rel_entr(p, q).sum() / 5
    assert distillation(student, teacher, temperature).item() == pytest.approx(expected, rel=1e-5)
    assert distillation(teacher, teacher, temperature).item() == pytest.approx(0, abs=1e-6)


def test_distillation_tells_networks_apart_that_nearly_agree_in_bfloat16():
    draws = torch.Generator().manual_seed(0)
    teacher = torch.randn(50, 10, generator=draws).bfloat16()
    student = (teacher.float() + 0.05 * torch.randn(50, 10, generator=draws)).bfloat16()
    p, q = (softmax(z.double().numpy() / 2, -1) for z in (teacher, student))
    with torch.autocast("cpu", torch.bfloat16):
        result = distillation(student, teacher, 2.0)
    assert result.item() == pytest.approx(4 * rel_entr(p, q).sum() / 50, rel=1e-3)


def test_the_gradient_of_distillation_keeps_its_size_as_the_temperature_grows():
    """At high temperature it nears the difference of the centred logits over the number of classes (Hinton, eq. 4)."""
    student, teacher = torch.tensor([[1.0, -1.0, 0.5]], requires_grad=True), torch.tensor([[0.0, 2.0, -1.0]])
    (gradient,) = torch.autograd.grad(distillation(student, teacher, 1e3), student)
    centred = (student - student.mean() - (teacher - teacher.mean())).detach() / 3
    torch.testing.assert_close(gradient, centred, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("scenario", ["task", "domain", "class"])
def test_lwf_is_cross_entropy_plus_the_old_answers_on_new_pictures(scenario):
    """In the third task: two old heads, four old classes, or all outputs."""
    stream, settings, strength, temperature = split_digits(scenario), training(), 0.7, 2.0
    method = begin_method(LwF(strength=strength, temperature=temperature), stream, settings)
    net, batch = network(stream.outputs), stream.tasks[0].train.batch(torch.arange(9))
    stream.heads.begin_task(0)
    method.start_task(net, stream.tasks[0])
    own = slice(0, 2) if scenario != "domain" else slice(None)
    torch.testing.assert_close(method.loss(net, batch), F.cross_entropy(net(batch.x)[:, own], batch.y))
    method.end_task(moved(net), None, stream.tasks[0])
    method.end_task(moved(net), None, stream.tasks[1])
    frozen = {name: value.clone() for name, value in net.state_dict().items()}
    stream.heads.begin_task(2)
    method.start_task(moved(net), stream.tasks[2])
    batch = stream.tasks[2].train.batch(torch.arange(9))
    now = net(batch.x)
    net_then = network(stream.outputs)
    net_then.load_state_dict(frozen)
    then = net_then(batch.x).detach()
    compete = {"task": slice(4, 6), "domain": slice(None), "class": slice(0, 6)}[scenario]
    groups = {"task": [slice(0, 2), slice(2, 4)], "domain": [slice(None)], "class": [slice(0, 4)]}[scenario]
    expected = F.cross_entropy(now[:, compete], batch.y).item()
    for group in groups:
        p, q = (softmax(z.detach().double().numpy()[:, group] / temperature, -1) for z in (then, now))
        expected += strength * temperature**2 * rel_entr(p, q).sum(1).mean()
    loss = method.loss(net, batch)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.backward()
    assert not any(parameter.requires_grad for parameter in method.teacher.parameters())
    assert all(torch.equal(value, frozen[name]) for name, value in method.teacher.state_dict().items())


def test_the_teacher_is_the_network_at_the_end_of_the_task_before():
    """With batch norm, whose running averages must not follow the student."""
    stream, settings, teachers = split_digits("domain"), training(), []
    method = begin_method(LwF(strength=1.0, temperature=2.0), stream, settings)
    torch.manual_seed(0)
    begin = method.start_task

    def start(net, task):
        if teachers:
            assert all(torch.equal(value, teachers[-1][name]) for name, value in method.teacher.state_dict().items())
        return begin(net, task)

    method.start_task = start
    end = method.end_task

    def remember(net, theta, task):
        if teachers:  # unchanged while the student learned
            assert all(torch.equal(value, teachers[-1][name]) for name, value in method.teacher.state_dict().items())
            assert not method.teacher.training
        end(net, theta, task)
        teachers.append({name: value.clone() for name, value in net.state_dict().items()})

    method.end_task = remember
    learn(method, stream, CNN((1, 8, 8), 2, [4]), settings)
    assert len(teachers) == 5


def test_lwf_without_strength_is_finetuning():
    weights = []
    for strength in (0.0, 1.0, 5.0):
        stream, settings = split_digits("task"), training()
        net = learn(
            begin_method(LwF(strength=strength, temperature=2.0), stream, settings), stream, network(10), settings
        )
        weights.append(net[1].weight.detach().clone())
    assert (weights[0] - weights[1]).norm() > 1e-3
    assert (weights[1] - weights[2]).norm() > 1e-3


def icarl(scenario, total=20, replay_batch=6, batch_size=8):
    stream = split_digits(scenario)
    settings = training(batch_size=batch_size)
    return begin_method(ICaRL(memory_total=total, replay_batch=replay_batch), stream, settings), stream, settings


def test_herding_is_the_greedy_search_for_the_nearest_mean():
    features = F.normalize(torch.randn(25, 6, generator=torch.Generator().manual_seed(0)).relu(), dim=1)
    points, chosen = features.double().numpy(), []
    for _ in range(25):
        distances = [
            np.inf if i in chosen else np.linalg.norm(points.mean(0) - points[[*chosen, i]].mean(0)) for i in range(25)
        ]
        chosen.append(int(np.argmin(distances)))
        if len(chosen) == 12:
            assert herding(features, 12).tolist() == chosen
    assert sorted(herding(features, 25).tolist()) == list(range(25))


@pytest.mark.parametrize("scenario", ["class", "domain"])
def test_icarl_learns_labels_of_new_classes_and_answers_for_old_ones(scenario):
    """Algorithm 3 with the sigmoids written out."""
    method, stream, _ = icarl(scenario)
    net = network(stream.outputs)
    stream.heads.begin_task(0)
    method.start_task(net, stream.tasks[0])
    first = stream.tasks[0].train.batch(torch.arange(9))
    q = expit(net(first.x)[:, :2].detach().double().numpy())
    g = np.eye(2)[first.y.numpy()]
    expected = -(g * np.log(q) + (1 - g) * np.log(1 - q)).sum() / 9
    assert method.loss(net, first).item() == pytest.approx(expected, rel=1e-5)
    method.end_task(net, None, stream.tasks[0])
    then = network(stream.outputs)
    then.load_state_dict(net.state_dict())
    stream.heads.begin_task(1)
    method.start_task(moved(net), stream.tasks[1])
    new = stream.tasks[1].train.batch(torch.arange(9))
    state = method.generator.get_state()
    result = method.loss(net, new).item()
    index = torch.randint(len(method.buffer), (6,), generator=torch.Generator().set_state(state))
    x = torch.cat([new.x, method.normalise(method.buffer.examples.pictures[index])])
    y = torch.cat([new.y, method.buffer.examples.labels[index]]).numpy()
    classes = 4 if scenario == "class" else 2
    g, q = np.eye(classes)[y], expit(net(x)[:, :classes].detach().double().numpy())
    old = expit(then(x)[:, :2].detach().double().numpy())
    if scenario == "class":
        g[:, :2] = old  # of new pictures, too
    else:
        g[9:] = old[9:]
    assert result == pytest.approx(-(g * np.log(q) + (1 - g) * np.log(1 - q)).sum() / 15, rel=1e-5)


def test_exemplars_are_equally_many_for_each_class_and_the_first_of_the_herding_order():
    method, stream, settings = icarl("class", total=24)
    orders = {}

    def check(number, net, _):
        data = stream.tasks[number].train
        features = normalised_features(net.eval(), data.batch(torch.arange(len(data))).x).detach()
        for label in data.labels.unique().tolist():
            members = (data.labels == label).nonzero().squeeze(1)
            order = members[herding(features[members], len(members))]
            orders[label] = data.raw(order)
        counts = method.buffer.examples.labels.bincount()
        assert len(method.buffer) == 24
        assert counts.max() - counts.min() <= 1
        assert len(counts) == 2 * number + 2
        for label, count in enumerate(counts.tolist()):
            assert torch.equal(
                method.buffer.examples.pictures[method.buffer.examples.labels == label], orders[label][:count]
            )

    learn(method, stream, network(10), settings, check)


@pytest.mark.parametrize("scenario", ["class", "domain"])
def test_the_nearest_mean_of_the_exemplars_answers(scenario):
    method, stream, settings = icarl(scenario)

    def check(number, net, _):
        test = stream.tasks[0].test.batch(torch.arange(40))

        def features(x):
            hidden = F.relu(F.linear(x.flatten(1), net[1].weight, net[1].bias)).detach().double().numpy()
            return hidden / np.linalg.norm(hidden, axis=1, keepdims=True)

        stored = features(method.normalise(method.buffer.examples.pictures))
        means = {}
        for label in method.buffer.examples.labels.unique().tolist():
            mean = stored[method.buffer.examples.labels.numpy() == label].mean(0)
            means[label] = mean / np.linalg.norm(mean)
        distances = np.stack([((features(test.x) - mean) ** 2).sum(1) for mean in means.values()], 1)
        answers = method.predictor(net, 0)(test.x).detach()
        np.testing.assert_allclose(-answers[:, list(means)].numpy(), distances, atol=1e-5)
        unmet = [label for label in range(stream.outputs) if label not in means]
        assert (answers[:, unmet] == -torch.inf).all()
        assert answers.argmax(1).tolist() == [list(means)[i] for i in distances.argmin(1)]

    net = network(stream.outputs)
    assert method.predictor(net, 0) is net
    learn(method, stream, net, settings, check)


@pytest.mark.parametrize("model", [("model=mlp", "model.hidden=[16]"), ("model=cnn", "model.channels=[4,6]")])
def test_the_classifier_of_icarl_can_be_loaded(mlbench, tmp_path, model):
    words = ("data=split_digits", "data.scenario=class", "data.train_per_task=80", "lifelong.memory_total=30")
    code, _, error = mlbench("lifelong=icarl", *words, *model)
    assert code == 0, error
    (folder,) = (tmp_path / "out" / "lifelong").glob("*/*")
    rows = (folder / "accuracy_matrix.csv").read_text().splitlines()
    last = [float(value) for value in rows[-1].split(",")[1:]]
    for task, data in enumerate(split_digits("class").tasks):
        net = package.load(folder / "checkpoints" / f"answers_task_{task + 1:02d}.safetensors")
        assert isinstance(net[1], NearestMean)
        with torch.no_grad():
            right = net(data.test.raw(torch.arange(len(data.test)))).argmax(1) == data.test.labels
        assert right.float().mean().item() == pytest.approx(last[task], abs=1e-6)


def test_the_nearest_mean_ignores_classes_without_one():
    net = network(4)
    means = torch.full((4, 12), torch.inf)
    means[2] = F.normalize(torch.ones(12), dim=0)
    answers = NearestMean(net, 4, 12).with_means(means)(torch.randn(5, 1, 8, 8))
    assert answers.argmax(1).tolist() == [2] * 5
    assert not answers.isnan().any()


def test_balance_in_the_class_scenario_counts_each_class_once():
    memory = StoredExamples(torch.zeros(6, 1, 1, 1), torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([0, 0, 0, 0, 1, 1]))
    assert memory.balanced(3).labels.tolist() == [0, 1, 2]


@pytest.mark.parametrize(("name", "value"), [("strength", -1.0), ("temperature", 0.0)])
def test_settings_out_of_range_are_refused(name, value):
    with pytest.raises(SettingError, match=name):
        LwF(**{"strength": 1.0, "temperature": 2.0, name: value})
