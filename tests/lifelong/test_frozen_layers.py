"""Networks with frozen layers: every method learns with them, and leaves them as they were."""

import importlib

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from mlbench.core.config_groups import conf_folder, entries
from tests.lifelong.test_base import begin_method, learn, split_digits
from tests.techniques import configured
from tests.training.test_theta import training

pytestmark = pytest.mark.usefixtures("undrawn")  # nobody looks at the figures


def named_class(method):
    module, _, name = OmegaConf.load(conf_folder() / "lifelong" / f"{method}.yaml")._target_.rpartition(".")
    return getattr(importlib.import_module(module), name)


def network(frozen):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 10))
    for place in frozen:
        net[place].requires_grad_(False)
    return net


ALL_BUT_THE_HEAD = [(name, (1, 3)) for name in ("ewc", "gem", "independent", "mas", "progressive", "rwalk", "scp")]


@pytest.mark.parametrize(
    ("method", "frozen"), [(name, (1,)) for name in sorted(entries("lifelong"))] + ALL_BUT_THE_HEAD
)
def test_every_method_learns_with_frozen_layers(method, frozen):
    cls = named_class(method)
    settings, net = training(batch_size=10), network(frozen)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    scenario = "task" if "task" in cls.scenarios else cls.scenarios[0]
    found = configured(cls)
    stream = found.stream(split_digits(scenario=scenario, train_per_task=40, test_per_task=10))
    stream.tasks = [task for task in stream.tasks if len(task.train)][:2]
    begin_method(found, stream, settings)
    parts = {}
    net = learn(found, stream, net, settings, lambda number, net, theta: parts.update(theta.parameters))
    for name, value in net.state_dict().items():
        parameter = name.removeprefix("columns.0.").removeprefix("columns.1.")
        if parameter in before and int(parameter[0]) in frozen:
            assert torch.equal(value, before[parameter]), name
    assert any(name.endswith("5.weight") for name in parts)
