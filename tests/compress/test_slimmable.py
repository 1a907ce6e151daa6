"""Slimmable networks: each width is a smaller network of its own."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mlbench.compress.adaptive.slimmable import AllWidths, Slim, Slimmable, cut
from mlbench.compress.base import Point
from mlbench.core.errors import SettingError, UserError
from mlbench.models.cnn import CNN
from mlbench.models.resnet import ResNet18
from tests.compress.test_unstructured_pruning import Bench, network
from tests.conftest import random_split
from tests.techniques import configured


def slim(own=()):
    torch.manual_seed(0)
    return Slim(CNN((1, 8, 8), 3, [8, 12]), list(own))


def test_a_full_width_is_the_network_itself():
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3, padding=2, dilation=2, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten()]
    net, x = nn.Sequential(*layers, nn.Linear(4 * 64, 3, bias=False)).eval(), torch.randn(5, 1, 8, 8)
    configured(Slimmable).check(net)
    expected = net(x)
    torch.testing.assert_close(Slim(net, []).eval()(x), expected)
    torch.testing.assert_close(cut(copy.deepcopy(net), 1.0)(x), expected)


@pytest.mark.parametrize(
    "layer",
    [nn.Conv2d(4, 4, 3, groups=2), nn.Conv2d(4, 4, 3, padding_mode="circular"), nn.GroupNorm(2, 4), nn.PReLU(4)],
)
def test_layers_that_cannot_be_cut_are_refused(layer):
    with pytest.raises(UserError, match=type(layer).__name__):
        configured(Slimmable).check(nn.Sequential(nn.Conv2d(1, 4, 3), layer, nn.Flatten(), nn.Linear(4, 3)))


@pytest.mark.parametrize("own", [(), (0.5, 1.0)])
def test_a_width_is_the_network_with_the_first_channels(own):
    net, x = slim(own), torch.randn(4, 1, 8, 8)
    with torch.no_grad():
        for norm in net.modules():
            if isinstance(norm, nn.BatchNorm2d):
                for tensor in (norm.weight, norm.bias, norm.running_mean):
                    tensor.normal_()
    net.eval()
    net.width = 0.5
    first, norm = net.net[0], net.norm(1, 0.5)
    x1 = F.conv2d(x, first.weight[:4], padding=1)
    mean, var, scale, shift = (v[:4] for v in (norm.running_mean, norm.running_var, norm.weight, norm.bias))
    x1 = F.max_pool2d(F.relu(F.batch_norm(x1, mean, var, scale, shift)), 2)
    second, norm = net.net[4], net.norm(5, 0.5)
    x2 = F.conv2d(x1, second.weight[:6, :4], padding=1)
    mean, var, scale, shift = (v[:6] for v in (norm.running_mean, norm.running_var, norm.weight, norm.bias))
    x2 = F.max_pool2d(F.relu(F.batch_norm(x2, mean, var, scale, shift)), 2).mean((2, 3))
    expected = F.linear(x2, net.net[-1].weight[:, :6], net.net[-1].bias)
    torch.testing.assert_close(net(x), expected)
    alone = cut(net.at(0.5), 0.5)
    torch.testing.assert_close(alone(x), expected)
    assert alone[0].weight.shape == (4, 1, 3, 3)
    assert alone[-1].weight.shape == (3, 6)


def test_batch_norms_are_shared_or_each_widths_own():
    shared, own = slim(), slim([0.5, 1.0])
    assert shared.norm(1, 0.5) is shared.norm(1, 1.0)
    assert own.norm(1, 0.5) is not own.norm(1, 1.0)
    assert own.norm(1, 0.5).num_features == 4
    batch = random_split(10, shape=(1, 8, 8)).batch(torch.arange(10))
    AllWidths([0.5], []).loss(own.train(), batch)
    assert (own.norm(1, 0.5).running_mean != 0).all()
    assert (own.norm(1, 1.0).running_mean == 0).all()


def test_the_loss_is_the_sum_over_the_widths():
    net, batch = slim().eval(), random_split(10, shape=(1, 8, 8)).batch(torch.arange(10))
    total = 0
    for net.width in (0.25, 1.0):
        total += F.cross_entropy(net(batch.x), batch.y)
    both = AllWidths([0.25, 1.0], [0.5])
    torch.testing.assert_close(both.loss(net, batch), total)
    net.train()
    net.width, seen = 1.0, []
    net.register_forward_pre_hook(lambda net, _: seen.append(net.width))
    for _ in range(20):
        AllWidths([0.25, 1.0], [0.5, 0.75]).loss(net, batch)
    assert [seen[i] for i in range(60) if i % 3 < 2] == [0.25, 1.0] * 20
    assert set(seen[2::3]) == {0.5, 0.75}


def test_a_dense_layer_behind_a_picture_keeps_its_channels_values():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(16, 6), nn.ReLU(), nn.Linear(6, 3))
    narrow, x = cut(copy.deepcopy(net), 0.5), torch.randn(3, 1, 4, 4)
    hidden = F.conv2d(x, net[0].weight[:2], net[0].bias[:2]).flatten(1)
    hidden = F.relu(F.linear(hidden, net[2].weight[:3, :8], net[2].bias[:3]))
    torch.testing.assert_close(narrow(x), F.linear(hidden, net[4].weight[:, :3], net[4].bias))


@pytest.mark.parametrize(
    "wrong",
    [{"widths": []}, {"widths": [0.0]}, {"between": [1.5]}, {"finetune_epochs": 0}],
)
def test_slimmable_settings_out_of_range(wrong):
    with pytest.raises(SettingError):
        configured(Slimmable, **wrong)
    with pytest.raises(UserError, match="a chain of layers"):
        configured(Slimmable).check(ResNet18((3, 8, 8), 3, 4))


def test_widths_in_between_are_left_out_where_batch_norm_is_switchable():
    stages = {}
    for batch_norm in ("recalibrated", "switchable", "shared"):
        torch.manual_seed(0)
        net = CNN((1, 4, 4), 3, [4, 8])
        method = configured(Slimmable, widths=[0.5, 1.0], between=[0.75], batch_norm=batch_norm, alone=True)
        stages[batch_norm] = [point.stage for point in method.compress(Point("dense", net), Bench(net))]
    alike = ["alone 0.5", "width 0.5", "width 0.75", "alone 1", "width 1"]
    assert stages == {"recalibrated": alike, "shared": alike, "switchable": [s for s in alike if "0.75" not in s]}
    rows = [{"stage": stage, "accuracy": value} for stage, value in zip(alike, (0.8, 0.7, 0.1, 0.9, 0.95), strict=True)]
    assert method.metrics(rows, None) == {"width_error_increase": pytest.approx(0.1)}


def test_a_width_alone_is_trained_from_the_same_start():
    net = network([8, 4])
    context = Bench(net)
    method = configured(Slimmable, widths=[0.5, 1.0], between=[], alone=True, finetune_epochs=1)
    stages = [point.stage for point in method.compress(Point("dense", net), context)]
    assert stages == ["alone 0.5", "width 0.5", "alone 1", "width 1"]
    starts = [start for start, _ in context.fits[1:]]  # behind that of all widths together
    assert len(starts) == 2
    for start, width in zip(starts, (0.5, 1.0), strict=True):
        for mine, narrow in zip(start.parameters(), cut(copy.deepcopy(net), width).parameters(), strict=True):
            assert torch.equal(mine, narrow)
