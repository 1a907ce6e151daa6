"""Methods with separate parameters for each task: those of earlier tasks never change."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mlbench as package
from mlbench.lifelong.isolation.independent import Independent
from mlbench.lifelong.isolation.packnet import PackNet
from mlbench.lifelong.isolation.progressive import Columns, Progressive
from mlbench.models.cnn import CNN
from mlbench.models.mlp import MLP
from mlbench.models.resnet import ResNet18
from mlbench.training.theta import Theta
from tests.lifelong.test_base import begin_method, learn, split_digits
from tests.training.test_theta import training

pytestmark = pytest.mark.usefixtures("undrawn")  # nobody looks at the figures

NETS = {
    "mlp": lambda outputs: MLP((1, 8, 8), outputs, [24, 12]),
    "cnn": lambda outputs: CNN((1, 8, 8), outputs, [4, 6]),
    "resnet": lambda outputs: ResNet18((1, 8, 8), outputs, 4),
}
OPTIMIZERS = {
    "sgd": {},
    "momentum and decay": {"momentum": 0.9, "weight_decay": 0.05},
    "adam": {"optimizer": "adam", "lr": 0.01, "weight_decay": 0.05},
    "early stopping": {"optimizer": "adamw", "lr": 0.01, "validation": 0.2, "patience": 2, "epochs": 2},
}


def packnet(fraction=None, retrain_epochs=1):
    return PackNet(fraction=fraction, retrain_epochs=retrain_epochs)


def make(net, stream):
    torch.manual_seed(0)
    return NETS[net](stream.outputs)


def logits(predictor, pictures, normalise):
    predictor.eval()
    with torch.no_grad():
        return predictor(normalise(pictures)).clone()


def own(stream, outputs, task):
    """The outputs that count for a task."""
    return stream.heads(outputs, torch.full((len(outputs),), task))


@pytest.mark.parametrize("settings", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize(
    ("method", "scenario", "net"),
    [
        (packnet, "task", "mlp"),
        (packnet, "domain", "mlp"),
        (packnet, "task", "cnn"),
        (packnet, "domain", "resnet"),
        (Progressive, "task", "mlp"),
        (Progressive, "domain", "cnn"),
        (Progressive, "task", "resnet"),
        (Independent, "domain", "cnn"),
    ],
)
def test_the_outputs_for_a_task_never_change(method, scenario, net, settings):
    """Bit for bit, so that backward transfer is exactly 0: batch norm, momentum and decay included."""
    stream = split_digits(scenario, train_per_task=40, test_per_task=20)
    stream.tasks = stream.tasks[:3] if net == "resnet" else stream.tasks
    settings, result = training(**{"batch_size": 16, **settings}), {}
    method = begin_method(method(), stream, settings)

    def compare(number, net, _):
        for task in range(number + 1):
            test = stream.tasks[task].test
            pictures = test.raw(torch.arange(len(test)))
            now = own(stream, logits(method.predictor(net, task), pictures, test.normalise), task)
            assert torch.equal(result.setdefault(task, now), now)
        assert len({outputs.sum().item() for outputs in result.values()}) == number + 1

    learn(method, stream, make(net, stream), settings, compare)


@pytest.mark.parametrize("settings", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("scenario", ["task", "domain"])
def test_packnet_never_moves_what_earlier_tasks_own(scenario, settings):
    stream, settings, owned = split_digits(scenario), training(**settings), []
    method = begin_method(packnet(), stream, settings)

    def compare(number, net, _):
        value = nn.utils.parameters_to_vector(net.parameters()).detach()
        for mask, before in owned:
            assert torch.equal(value[mask], before)
        mask = method.owner == number + 1
        owned.append((mask, value[mask].clone()))
        assert value[mask].any()

    learn(method, stream, make("mlp", stream), settings, compare)
    assert len(owned) == 5
    assert all(mask.any() for mask, _ in owned)


@pytest.mark.parametrize("fraction", [None, 0.5])
def test_packnet_keeps_its_share_of_each_layer_and_the_largest_of_it(fraction):
    """Equal parts of all weights without `fraction`, with it the same share of what is left; the rest is 0."""
    stream = split_digits("domain")
    method = begin_method(packnet(fraction, retrain_epochs=0), stream, training())
    trained = {}
    choose = method.task_weights
    method.task_weights = lambda net, theta, task: (trained.update(value=theta.copy()), choose(net, theta, task))[1]

    def count(number, net, _):
        theta = Theta(net)
        for name, place in theta.layout.items():
            owner, value = method.owner[place], theta.value[place]
            size, was_free = owner.numel(), (owner == 0) | (owner == number + 1)
            mine = int((owner == number + 1).sum())
            if name.endswith("bias"):
                assert (owner == 1).all()
                continue
            expected = size / 5 if fraction is None else size * 0.5 ** (number + 1)
            assert mine == pytest.approx(expected, abs=2.5)
            sizes = trained["value"][place].abs()
            left_out = was_free & (owner == 0)
            if mine and left_out.any():
                assert sizes[owner == number + 1].min() >= sizes[left_out].max()
            assert (value[owner == 0] == 0).all()

    learn(method, stream, make("mlp", stream), training(), count)
    free = torch.cat([(method.owner == 0)]).float().mean()
    assert (free == 0) if fraction is None else (0.02 < free < 0.05)


def test_packnet_retrains_what_it_kept_before_it_owns_it():
    stream = split_digits("domain", tasks=2)
    values = {}
    for epochs in (0, 2):
        method = begin_method(packnet(0.3, epochs), stream, training())
        stream.tasks = stream.tasks[:1]
        net = learn(method, stream, make("mlp", stream), training())
        values[epochs] = nn.utils.parameters_to_vector(net.parameters()).detach()
    kept = method.owner == 1
    assert (values[0][kept] != values[2][kept]).float().mean() > 0.8
    assert method.samples_replayed == 0  # the runner counts them as processed


def test_packnet_keeps_the_outputs_of_the_task_whole():
    stream = split_digits("task")
    method = begin_method(packnet(), stream, training())

    def heads(number, net, _):
        theta = Theta(net)
        for name in ("5.weight", "5.bias"):
            rows = method.owner[theta.layout[name]].unflatten(0, (5, -1))
            for task in range(5):
                assert (rows[task] == (task + 1 if task <= number else 0)).all()

    learn(method, stream, make("mlp", stream), training(), heads)


@pytest.mark.parametrize("net", NETS)
def test_progressive_begins_as_independent_networks(net):
    """With laterals of 0 each column is the network as it was at first, whatever the older ones learned."""
    stream = split_digits("domain", tasks=2)
    first = make(net, stream)
    pictures = stream.tasks[0].test.batch(torch.arange(9)).x
    first.eval()
    before = first(pictures).detach().clone()
    method = begin_method(Progressive(), stream, training())
    stream.tasks = stream.tasks[:1]
    columns = learn(method, stream, first, training())
    assert not torch.allclose(columns(pictures), before)
    columns = method.start_task(columns, split_digits("domain", tasks=2).tasks[1])
    torch.testing.assert_close(columns.eval()(pictures), before, rtol=0, atol=0)


def test_progressive_columns_are_equation_1():
    """h_i^(k) = f(W_i^(k) h_(i-1)^(k) + b + sum_j U_i^(k:j) h_(i-1)^(j)), written out for three layers."""
    torch.manual_seed(0)
    net = Columns(MLP((1, 4, 4), 3, [6, 5]), 3)
    for parameter in net.parameters():
        parameter.data.normal_()
    x = torch.randn(7, 1, 4, 4)
    hidden = [F.relu(F.linear(x.flatten(1), c[1].weight, c[1].bias)) for c in net.columns]
    for layer, place in ((0, 3), (1, 5)):
        following = []
        for k, column in enumerate(net.columns):
            value = F.linear(hidden[k], column[place].weight, column[place].bias)
            for j in range(k):
                value = value + hidden[j] @ net.laterals[k][layer][j].weight.T
            following.append(value)
        hidden = [F.relu(value) for value in following] if layer == 0 else following
    for k in range(3):
        torch.testing.assert_close(net.with_output(k)(x), hidden[k])


def test_progressive_trains_the_newest_column_and_its_laterals_alone():
    stream, settings = split_digits("domain"), training(momentum=0.9, weight_decay=0.01)
    method, before = begin_method(Progressive(), stream, settings), {}

    def compare(number, net, _):
        newest = {f"columns.{number}", f"laterals.{number}"}
        weights = {name: p.detach().clone() for name, p in net.named_parameters()}
        for name, value in before.items():
            assert torch.equal(value, weights[name])
        for name, parameter in net.named_parameters():
            mine = ".".join(name.split(".")[:2]) in newest
            assert parameter.requires_grad == mine
            if mine and "lateral" in name:
                assert parameter.any()
        before.update(weights)

    net = learn(method, stream, make("mlp", stream), settings, compare)
    widths = [64, 24, 12, 2]
    column = sum(a * b + b for a, b in itertools.pairwise(widths))
    laterals = 24 * 12 + 12 * 2
    assert sum(p.numel() for p in net.parameters()) == 5 * column + (0 + 1 + 2 + 3 + 4) * laterals
    x = stream.tasks[0].test.batch(torch.arange(9)).x
    fed = net(x).detach().clone()
    for lateral in net.laterals[4].parameters():
        lateral.data.zero_()
    assert not torch.allclose(net(x), fed, atol=1e-2)


@pytest.mark.parametrize("model", [("model=mlp", "model.hidden=[16]"), ("model=cnn", "model.channels=[4,6]"),
                                   ("model=resnet18", "model.width=4")], ids=NETS)  # fmt: skip
@pytest.mark.parametrize("method", ["progressive", "packnet"])
def test_the_predictor_of_each_task_can_be_loaded(mlbench, tmp_path, method, model):
    """The file of a task answers with the accuracy of the task's last row, which is that of its own row."""
    words = ("data=split_digits", "data.scenario=task", "data.train_per_task=80", "train.lr=0.05", "train.momentum=0.9")
    code, _, error = mlbench(f"lifelong={method}", *words, *model)
    assert code == 0, error
    (folder,) = (tmp_path / "out" / "lifelong").glob("*/*")
    rows = (folder / "accuracy_matrix.csv").read_text().splitlines()[1:]
    matrix = [[float(value) for value in row.split(",")[1:]] for row in rows]
    for task, data in enumerate(split_digits("task").tasks):
        file = folder / "checkpoints" / f"answers_task_{task + 1:02d}.safetensors"
        net = package.load(file if file.exists() else folder / "checkpoints" / "model.safetensors")
        pictures = data.test.raw(torch.arange(len(data.test)))
        with torch.no_grad():
            right = net(pictures)[:, 2 * task : 2 * task + 2].argmax(1) == data.test.labels
        assert right.float().mean().item() == pytest.approx(matrix[-1][task], abs=1e-6)
        assert len({matrix[row][task] for row in range(task + 1, 6)}) == 1


def test_packnet_has_owners_for_many_tasks():
    stream = split_digits()
    method, net = begin_method(packnet(), stream, training()), MLP((1, 8, 8), stream.outputs, [6])
    method.numbers, theta = tuple(range(300)), Theta(net)
    method.start(net, theta)
    method.end_task(net, theta, stream.tasks[0])
    assert method.owner.max() == 300
