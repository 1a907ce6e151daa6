"""What all lifelong methods share: heads of other tasks at rest, the display's estimate, threads."""

import pytest
import torch
import torch.nn.functional as F

from mlbench.data.datasets.digits import Digits
from mlbench.data.scenarios.streams import SplitClasses
from mlbench.data.split import Split
from mlbench.lifelong.bounds.finetune import Finetune
from mlbench.lifelong.regularisation.lwf import LwF
from mlbench.lifelong.replay.der import DER
from mlbench.lifelong.replay.gem import GEM
from mlbench.models.mlp import MLP
from mlbench.models.resnet import ResNet18
from mlbench.training.compute import Compute
from mlbench.training.device import choose_threads
from mlbench.training.loop import fit
from tests.training.test_theta import training


def split_digits(scenario="task", tasks=5, train_per_task=60, test_per_task=None):
    data = SplitClasses(
        source=Digits(),
        tasks=tasks,
        scenario=scenario,
        train_per_task=train_per_task,
        test_per_task=test_per_task,
        task_order="fixed",
        order_seed=None,
        class_order="fixed",
    )
    return data.stream(None, torch.Generator().manual_seed(0))


def begin_method(method, stream, settings, seed=0):
    """The method after `begin`, with a generator of its own."""
    method.begin(stream, settings, Compute(), torch.Generator().manual_seed(seed))
    return method


def learn(method, stream, net, settings, after=lambda number, net, theta: None):
    """The runner's order of calls without its measurements; `after` sees each task's end. The last network."""
    draws = torch.Generator().manual_seed(1)
    for number, task in enumerate(stream.tasks):
        stream.heads.begin_task(number)
        net = method.start_task(net, task)
        theta = fit(net, method.examples(task.train), method, settings, Compute(), draws)
        method.end_task(net, theta, task)
        after(number, net, theta)
    return net


@pytest.mark.parametrize(
    "settings",
    [
        {"momentum": 0.9, "weight_decay": 0.1},
        {"optimizer": "adam", "lr": 0.01, "weight_decay": 0.1},
        {"optimizer": "adamw", "lr": 0.01, "weight_decay": 0.1},
    ],
)
def test_heads_of_other_tasks_do_not_drift(settings):
    stream, method, settings = split_digits(), Finetune(), training(epochs=2, **settings)
    torch.manual_seed(0)
    net = MLP((1, 8, 8), 10, [16])
    method.begin(stream, settings, Compute(), torch.Generator())
    head = net[-1]
    for task in (0, 1):
        before = torch.cat([head.weight.detach(), head.bias.detach()[:, None]], 1).clone()
        fit(net, stream.tasks[task].train, method, settings, Compute(), torch.Generator().manual_seed(1))
        moved = (torch.cat([head.weight.detach(), head.bias.detach()[:, None]], 1) != before).any(1)
        assert moved.tolist() == [row // 2 == task for row in range(10)]


def test_all_heads_in_a_union_learn():
    stream, method = split_digits(), Finetune()
    method.begin(stream, training(weight_decay=0.1), Compute(), torch.Generator())
    union = Split.union([task.train for task in stream.tasks[:2]])
    net = MLP((1, 8, 8), 10, [16])
    before = net[-1].weight.detach().clone()
    fit(net, union, method, training(weight_decay=0.1), Compute(), torch.Generator())
    assert (net[-1].weight != before).any(1).tolist() == [True] * 4 + [False] * 6


def test_gem_says_how_much_it_will_replay():
    stream, method = split_digits(), GEM(memory_total=100, margin=0.5)
    method.begin(stream, training(batch_size=10), Compute(), torch.Generator())
    assert [method.replay_ratio(task) for task in range(3)] == [0, 2, 4]


def test_threads_follow_the_work_of_a_batch():
    small, large = MLP((1, 8, 8), 10, [16]), ResNet18((3, 32, 32), 10, 64)
    assert choose_threads("auto", small, torch.zeros(1, 1, 8, 8), 32) == 1
    assert (
        choose_threads("auto", large, torch.zeros(1, 3, 32, 32), 32)
        == choose_threads("auto", large, torch.zeros(1, 3, 32, 32), 64)
        >= 1
    )
    assert choose_threads(3, small, torch.zeros(1, 1, 8, 8), 32) == 3


@pytest.mark.parametrize("method", [DER(memory_total=10, replay_batch=4, policy="balanced", alpha=0.5), LwF(1.0, 2.0)])
def test_validation_loss_is_the_new_tasks_cross_entropy_for_all_methods(method):
    """Without draws of their own, whatever they remember besides."""
    stream = split_digits()
    begin_method(method, stream, training(batch_size=10))
    net = learn(method, stream, MLP((1, 8, 8), stream.outputs, [5]), training(batch_size=10))
    batch, state = stream.tasks[1].test.batch(torch.arange(20)), method.generator.get_state()
    expected = F.cross_entropy(method.heads(net(batch.x), batch.task), batch.y)
    torch.testing.assert_close(method.validation_loss(net, batch), expected)
    assert torch.equal(method.generator.get_state(), state)
