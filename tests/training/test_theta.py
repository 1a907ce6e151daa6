import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mlbench.models.cnn import CNN
from mlbench.models.mlp import MLP
from mlbench.training.loop import make_optimizer
from mlbench.training.optimizer import Training
from mlbench.training.theta import Theta


def training(**changes):
    values = {
        "epochs": 1,
        "batch_size": 8,
        "optimizer": "sgd",
        "lr": 0.1,
        "momentum": 0.0,
        "weight_decay": 0.0,
        "schedule": "constant",
        "augment": "none",
        "validation": 0.0,
        "patience": 0,
    }
    return Training(**{**values, **changes})


def networks():
    torch.manual_seed(0)
    net = MLP((1, 4, 4), 3, [8])
    other = MLP((1, 4, 4), 3, [8])
    other.load_state_dict(net.state_dict())
    return net, other


@pytest.mark.parametrize(
    ("settings", "reference"),
    [
        ({"lr": 0.1}, lambda p: torch.optim.SGD(p, lr=0.1)),
        (
            {"momentum": 0.9, "weight_decay": 1e-2},
            lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-2),
        ),
        ({"optimizer": "adam", "lr": 1e-2}, lambda p: torch.optim.Adam(p, lr=1e-2)),
        (
            {"optimizer": "adamw", "lr": 1e-2, "weight_decay": 0.1},
            lambda p: torch.optim.AdamW(p, lr=1e-2, weight_decay=0.1),
        ),
    ],
)
def test_training_through_the_vector_equals_torch_optim_on_an_ordinary_module(settings, reference):
    net, ordinary = networks()
    theta = Theta(net)
    optimizer, plain = make_optimizer(theta, training(**settings), []), reference(ordinary.parameters())
    x, y = torch.randn(20, 8, 1, 4, 4), torch.randint(3, (20, 8))
    for batch, labels in zip(x, y, strict=True):
        theta.grad.zero_()
        F.cross_entropy(net(batch), labels).backward()
        optimizer.step()
        plain.zero_grad()
        F.cross_entropy(ordinary(batch), labels).backward()
        plain.step()
    for mine, theirs in zip(net.parameters(), ordinary.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)
    theta.check()


def test_vector_and_module_are_one():
    net, _ = networks()
    before = nn.utils.parameters_to_vector(net.parameters()).clone()
    theta = Theta(net)
    assert torch.equal(theta.value, before)
    theta.value.zero_()
    assert all(not parameter.any() for parameter in net.parameters())
    net(torch.ones(2, 1, 4, 4)).sum().backward()
    assert torch.equal(theta.grad, torch.cat([p.grad.flatten() for p in net.parameters()]))


def test_only_trainable_parameters_are_in_the_vector():
    net, _ = networks()
    net[1].weight.requires_grad_(False)
    assert Theta(net).value.numel() == sum(p.numel() for p in net.parameters()) - net[1].weight.numel()
    with pytest.raises(ValueError, match="no trainable"):
        Theta(net.requires_grad_(False))


def test_named_views_carry_leading_dimensions():
    net, _ = networks()
    theta = Theta(net)
    rows = torch.arange(2.0 * theta.value.numel()).view(2, -1)
    views = theta.named(rows)
    assert [tuple(view.shape) for view in views.values()] == [(2, *p.shape) for p in net.parameters()]
    assert torch.equal(torch.cat([view.flatten(1) for view in views.values()], 1), rows)


@pytest.mark.parametrize(
    "detach",
    [
        lambda net: net.double().float(),
        lambda net: net.load_state_dict({k: v.clone() for k, v in net.state_dict().items()}, assign=True),
        lambda net: net.zero_grad(set_to_none=True),
    ],
)
def test_check_finds_detached_views(detach):
    net, _ = networks()
    theta = Theta(net)
    theta.check()
    detach(net)
    with pytest.raises(RuntimeError, match="no longer a view"):
        theta.check()


def test_channels_last_layout_keeps_values_and_makes_convolution_weights_channels_last():
    torch.manual_seed(0)
    net = CNN((3, 8, 8), 4, [5])
    x = torch.randn(2, 3, 8, 8)
    expected = net.eval()(x)
    theta = Theta(net, channels_last=True)
    assert net[0].weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(net(x), expected)
    net(x).sum().backward()
    theta.check()
    assert torch.equal(theta.named(theta.grad)["0.weight"], net[0].weight.grad)
