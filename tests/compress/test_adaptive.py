"""Early exits that really skip work, and networks of many widths."""

import copy
import itertools
import math

import numpy as np
import pytest
import scipy.stats
import torch
import torch.nn.functional as F
from torch import nn

from mlbench.compress.adaptive.early_exit import AllExits, EarlyExit
from mlbench.compress.adaptive.exit_network import Exits, averaged, blocks, negative_entropy, probability
from mlbench.compress.adaptive.exit_policy import Answers, affordable, cheapest, exit_taken, part_costs, ways_out
from mlbench.compress.adaptive.slimmable import AllWidths, Slim, Slimmable, cut
from mlbench.compress.base import Point
from mlbench.compress.pruning.structured import PruneNeurons
from mlbench.core.errors import SettingError, UserError
from mlbench.explain.attribution.captum import Captum
from mlbench.explain.attribution.gradcam import GradCam
from mlbench.explain.feature_visualisation.filters import Filters
from mlbench.explain.representation.embed import Embed
from mlbench.models.cnn import CNN
from mlbench.models.mlp import MLP
from mlbench.models.resnet import ResNet18
from tests.compress.test_unstructured_pruning import Bench, network
from tests.conftest import random_split
from tests.techniques import configured


def exits(threshold=math.inf):
    torch.manual_seed(0)
    net = Exits(MLP((1, 4, 4), 3, [8, 6]), [3], [8], 4, 3).eval()
    net.thresholds.fill_(threshold)
    return net


def counted(net):
    """How many examples each linear layer of the chain sees from now on."""
    seen = {}
    for index, layer in enumerate(net.net):
        if isinstance(layer, nn.Linear):
            note = lambda _, inputs, index=index: seen.update({index: seen.get(index, 0) + len(inputs[0])})  # noqa: E731
            layer.register_forward_pre_hook(note)
    return seen


def test_who_has_left_is_not_computed_any_more():
    net, x = exits(), torch.randn(20, 1, 4, 4)
    first, last = net.all_logits(x)
    sure = first.softmax(1).amax(1)
    net.thresholds.fill_(sure.median())
    leaves = sure >= sure.median()
    seen = counted(net)
    torch.testing.assert_close(net(x), torch.where(leaves[:, None], first, last))
    stay = int((~leaves).sum())
    assert seen == {1: 20, 3: stay, 5: stay}
    assert net.entered == [20, stay]
    one = torch.cat([net(each[None]) for each in x])
    torch.testing.assert_close(one, torch.where(leaves[:, None], first, last))


def test_who_passes_all_of_several_exits_is_counted_in_each_block():
    torch.manual_seed(0)
    net, x = Exits(MLP((1, 4, 4), 3, [8, 7, 6]), [3, 5], [8, 7], 4, 3).eval(), torch.randn(20, 1, 4, 4)
    first, second, last = net.all_logits(x)
    sure = [logits.softmax(1).amax(1) for logits in (first, second)]
    net.thresholds.copy_(torch.stack([each.median() for each in sure]))
    early = sure[0] >= sure[0].median()
    late = ~early & (sure[1] >= sure[1].median())
    assert 0 < int(late.sum()) < int((~early).sum())
    expected = torch.where(early[:, None], first, torch.where(late[:, None], second, last))
    torch.testing.assert_close(net(x), expected)
    assert net.entered == [20, int((~early).sum()), int((~early & ~late).sum())]


def test_confidences_by_hand():
    logits = torch.log(torch.tensor([[0.5, 0.5, 1e-9], [0.7, 0.2, 0.1]]))
    torch.testing.assert_close(probability(logits), torch.tensor([0.5, 0.7]))
    entropy = [math.log(2), -(0.7 * math.log(0.7) + 0.2 * math.log(0.2) + 0.1 * math.log(0.1))]
    torch.testing.assert_close(negative_entropy(logits), -torch.tensor(entropy))


def test_without_a_threshold_it_is_the_network_itself():
    net, x = exits(), torch.randn(5, 1, 4, 4)
    torch.testing.assert_close(net(x), net.net(x), rtol=0, atol=0)
    net.thresholds.fill_(0)
    torch.testing.assert_close(net(x), net.all_logits(x)[0])


def test_the_loss_is_the_sum_over_the_exits():
    net, batch = exits(), random_split(10).batch(torch.arange(10))
    hidden = F.relu(net.net[1](batch.x.flatten(1)))
    first, last = net.heads[0](hidden), net.net[5](F.relu(net.net[3](hidden)))
    expected = F.cross_entropy(first, batch.y) + F.cross_entropy(last, batch.y)
    torch.testing.assert_close(AllExits().loss(net, batch), expected)


def test_blocks_end_before_the_next_layer_with_weights():
    assert blocks(MLP((1, 4, 4), 3, [8, 6])) == [3, 5, 6]
    assert blocks(CNN((1, 8, 8), 3, [4, 4])) == [4, 10, 11]
    assert blocks(ResNet18((3, 8, 8), 3, 4))[0] == 3
    with pytest.raises(UserError, match="a chain of three layers"):
        configured(EarlyExit).check(MLP((1, 4, 4), 3, [8]))


def test_an_exit_sees_means_of_cells():
    x = torch.arange(16.0).view(1, 1, 4, 4)
    assert averaged(x, 2).tolist() == [[2.5, 4.5, 10.5, 12.5]]
    assert averaged(x, 9).shape == (1, 16)


def test_thresholds_are_the_best_within_the_budget():
    sure = torch.tensor([[0.9], [0.8], [0.7], [0.6]])
    right = torch.tensor([[True, True], [False, True], [True, False], [False, True]])
    ways = ways_out(Answers(sure, right, blocks=[0.5, 3.0], heads=[0.5]))
    found = [(way.accuracy, way.mean_cost) for way in ways]
    # all leave: half of them right at the cost of 1; all but the last leave; two stay, and the second is right
    assert found == [(0.5, 1.0), (0.75, 1.75)]
    assert [way.thresholds[0] > 0.601 for way in ways] == [False, True]
    assert affordable(ways, 1.2) is ways[0]
    assert affordable(ways, 9.0) is ways[1]
    assert affordable(ways, 0.1) is ways[0]  # nothing is so cheap: the cheapest
    assert cheapest(ways, 0.75) is ways[1]
    assert cheapest(ways, 0.5) is ways[0]
    taken = exit_taken(sure, ways[1].thresholds)
    assert taken.tolist() == [0, 0, 0, 1]


def test_thresholds_of_several_exits_are_close_to_the_best_of_all():
    generator = torch.Generator().manual_seed(0)
    sure = torch.rand(60, 2, generator=generator)
    right = torch.rand(60, 3, generator=generator) < torch.cat([sure, torch.full((60, 1), 0.9)], 1)
    tried = []
    for pair in itertools.product(*([*sure[:, number].tolist(), math.inf] for number in range(2))):
        tried.append((*outcome(sure, right, pair), pair))
    ways = ways_out(Answers(sure, right, blocks=[1.0, 2.0, 4.0], heads=[0.25, 0.25]))
    for way in ways:
        assert (way.accuracy, way.mean_cost) == pytest.approx(outcome(sure, right, way.thresholds))
        best = max(accuracy for accuracy, cost, _ in tried if cost <= way.mean_cost + 1e-9)
        assert best - 2 / 60 <= way.accuracy <= best + 1e-9
    assert all(a.mean_cost < b.mean_cost and a.accuracy < b.accuracy for a, b in itertools.pairwise(ways))


def outcome(sure, right, thresholds):
    """Accuracy and mean multiply-adds, each example followed by itself: blocks cost 1, 2, 4, exits in use .25."""
    correct, cost = 0, 0.0
    for example in range(len(sure)):
        for number, block in enumerate((1, 2, 4)):
            cost += block
            if number == 2:
                break
            if thresholds[number] < math.inf:
                cost += 0.25
                if sure[example, number] >= thresholds[number]:
                    break
        correct += int(right[example, number])
    return correct / len(sure), cost / len(sure)


def test_thresholds_come_from_validation_data_alone():
    net = network([8, 6])
    bench = Bench(net)
    method = configured(EarlyExit, budgets=[0.9], finetune_epochs=1)
    torch.manual_seed(0)
    *_, chosen = method.compress(Point("dense", copy.deepcopy(net)), bench)
    bench.validation = random_split(32, seed=9)
    torch.manual_seed(0)
    *_, other = method.compress(Point("dense", copy.deepcopy(net)), bench)
    assert torch.equal(chosen.net.net[1].weight, other.net.net[1].weight)
    assert not torch.equal(chosen.net.thresholds, other.net.thresholds)


def test_multiply_adds_of_each_block_and_exit():
    assert part_costs(exits(), torch.zeros(1, 1, 4, 4)) == ([128, 48 + 18], [24])


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


def test_what_an_early_exit_saves_and_loses_by_hand():
    """Against the last exit, which is the point behind the dense network's; the interval is paired."""
    rows = [{}, {"macs": 80.0, "latency_ms": 6.0}, {}, {"macs": 20.0, "latency_ms": 2.0, "entered": [10, 4]}]
    last, chosen = np.array([1, 1, 1, 1, 1, 1, 1, 1, 0, 0]), np.array([1, 1, 1, 1, 1, 1, 0, 0, 1, 0])
    correct = np.stack([last, last, chosen, chosen]).astype(bool)
    found = configured(EarlyExit).metrics(rows, correct)
    low, high = scipy.stats.t.interval(0.95, 9, 0.1, scipy.stats.sem(last - chosen))
    expected = {
        "first_exit_share": 0.6, "exit_error_increase": 0.1, "exit_error_increase_low": low,
        "exit_error_increase_high": high, "exit_macs_saved": 4.0, "exit_speedup": 3.0,
    }  # fmt: skip
    assert found == pytest.approx(expected)


def test_a_width_alone_is_trained_from_the_same_start():
    net = network([8, 4])
    bench = Bench(net)
    method = configured(Slimmable, widths=[0.5, 1.0], between=[], alone=True, finetune_epochs=1)
    stages = [point.stage for point in method.compress(Point("dense", net), bench)]
    assert stages == ["alone 0.5", "width 0.5", "alone 1", "width 1"]
    starts = [start for start, _ in bench.fits[1:]]  # behind that of all widths together
    assert len(starts) == 2
    for start, width in zip(starts, (0.5, 1.0), strict=True):
        for mine, narrow in zip(start.parameters(), cut(copy.deepcopy(net), width).parameters(), strict=True):
            assert torch.equal(mine, narrow)


@pytest.mark.parametrize(
    "method",
    [
        lambda: configured(PruneNeurons),
        lambda: configured(Filters),
        lambda: configured(Embed),
        lambda: configured(GradCam),
        lambda: configured(Captum, attribution="LayerActivation", construct={"layer": "net.1"}),
    ],
    ids=["prune_neurons", "filters", "embed", "gradcam", "captum"],
)
def test_who_looks_at_layers_refuses_a_network_that_can_be_left(method):
    with pytest.raises(UserError, match="early") as told:
        method().check(exits())
    assert "\n" not in str(told.value)


def test_a_single_test_example_has_no_interval():
    rows = [{}, {"macs": 80.0, "latency_ms": 6.0}, {"macs": 20.0, "latency_ms": 2.0, "entered": [1, 0]}]
    found = configured(EarlyExit).metrics(rows, np.ones((3, 1), bool))
    assert found["exit_error_increase"] == 0
    assert "exit_error_increase_low" not in found


def test_the_figure_shows_examples_as_the_workbench_draws_them():
    method, bench = configured(EarlyExit, finetune_epochs=1), Bench(network([8, 6]))
    bench.picture = lambda x: np.full(x.shape, 7, np.uint8)
    list(method.compress(Point("dense", network([8, 6])), bench))
    (figure,) = method.grids(bench.validation).values()
    assert {panel.picture.min() for _, panels in figure for panel in panels} == {7}
