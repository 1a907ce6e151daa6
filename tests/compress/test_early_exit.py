"""Early exits: examples that have stopped are not computed any further, and thresholds fit the budget."""

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
from mlbench.compress.adaptive.exit_network import Exits, blocks, negative_entropy, pooled, probability
from mlbench.compress.adaptive.exit_policy import (
    ExitPredictions,
    best_within,
    cheapest,
    count_macs,
    exit_index,
    pareto_policies,
)
from mlbench.compress.base import Point
from mlbench.compress.pruning.structured import PruneNeurons
from mlbench.core.errors import UserError
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
    """Count the examples that each linear layer of the chain sees from now on."""
    seen = {}
    for index, layer in enumerate(net.net):
        if isinstance(layer, nn.Linear):
            note = lambda _, inputs, index=index: seen.update({index: seen.get(index, 0) + len(inputs[0])})  # noqa: E731
            layer.register_forward_pre_hook(note)
    return seen


def test_an_example_that_has_stopped_is_not_computed_any_further():
    net, x = exits(), torch.randn(20, 1, 4, 4)
    first, last = net.all_logits(x)
    confidence = first.softmax(1).amax(1)
    net.thresholds.fill_(confidence.median())
    stops = confidence >= confidence.median()
    seen = counted(net)
    torch.testing.assert_close(net(x), torch.where(stops[:, None], first, last))
    others = int((~stops).sum())
    assert seen == {1: 20, 3: others, 5: others}
    assert net.entered == [20, others]
    one = torch.cat([net(each[None]) for each in x])
    torch.testing.assert_close(one, torch.where(stops[:, None], first, last))


def test_an_example_that_stops_nowhere_is_counted_in_each_block():
    torch.manual_seed(0)
    net, x = Exits(MLP((1, 4, 4), 3, [8, 7, 6]), [3, 5], [8, 7], 4, 3).eval(), torch.randn(20, 1, 4, 4)
    first, second, last = net.all_logits(x)
    confidence = [logits.softmax(1).amax(1) for logits in (first, second)]
    net.thresholds.copy_(torch.stack([each.median() for each in confidence]))
    early = confidence[0] >= confidence[0].median()
    late = ~early & (confidence[1] >= confidence[1].median())
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


def test_the_features_of_an_exit_are_means_over_cells():
    x = torch.arange(16.0).view(1, 1, 4, 4)
    assert pooled(x, 2).tolist() == [[2.5, 4.5, 10.5, 12.5]]
    assert pooled(x, 9).shape == (1, 16)


def test_thresholds_are_the_best_within_the_budget():
    confidence = torch.tensor([[0.9], [0.8], [0.7], [0.6]])
    correct = torch.tensor([[True, True], [False, True], [True, False], [False, True]])
    policies = pareto_policies(ExitPredictions(confidence, correct, block_macs=[0.5, 3.0], head_macs=[0.5]))
    points = [(policy.accuracy, policy.mean_macs) for policy in policies]
    # all stop at the first exit: half of them correct at a cost of 1; all but the last stop there
    assert points == [(0.5, 1.0), (0.75, 1.75)]
    assert [policy.thresholds[0] > 0.601 for policy in policies] == [False, True]
    assert best_within(policies, 1.2) is policies[0]
    assert best_within(policies, 9.0) is policies[1]
    assert best_within(policies, 0.1) is policies[0]  # none is that cheap: the cheapest
    assert cheapest(policies, 0.75) is policies[1]
    assert cheapest(policies, 0.5) is policies[0]
    assert exit_index(confidence, policies[1].thresholds).tolist() == [0, 0, 0, 1]


def test_thresholds_of_several_exits_are_close_to_the_best_of_all():
    generator = torch.Generator().manual_seed(0)
    confidence = torch.rand(60, 2, generator=generator)
    correct = torch.rand(60, 3, generator=generator) < torch.cat([confidence, torch.full((60, 1), 0.9)], 1)
    tried = []
    for pair in itertools.product(*([*confidence[:, number].tolist(), math.inf] for number in range(2))):
        tried.append((*outcome(confidence, correct, pair), pair))
    policies = pareto_policies(ExitPredictions(confidence, correct, block_macs=[1.0, 2.0, 4.0], head_macs=[0.25, 0.25]))
    for policy in policies:
        assert (policy.accuracy, policy.mean_macs) == pytest.approx(outcome(confidence, correct, policy.thresholds))
        best = max(accuracy for accuracy, cost, _ in tried if cost <= policy.mean_macs + 1e-9)
        assert best - 2 / 60 <= policy.accuracy <= best + 1e-9
    assert all(a.mean_macs < b.mean_macs and a.accuracy < b.accuracy for a, b in itertools.pairwise(policies))


def outcome(confidence, correct, thresholds):
    """Accuracy and mean multiply-adds, each example followed by itself: blocks cost 1, 2, 4, exits in use .25."""
    count, macs = 0, 0.0
    for example in range(len(confidence)):
        for number, block in enumerate((1, 2, 4)):
            macs += block
            if number == 2:
                break
            if thresholds[number] < math.inf:
                macs += 0.25
                if confidence[example, number] >= thresholds[number]:
                    break
        count += int(correct[example, number])
    return count / len(confidence), macs / len(confidence)


def test_thresholds_come_from_validation_data_alone():
    net = network([8, 6])
    context = Bench(net)
    method = configured(EarlyExit, budgets=[0.9], finetune_epochs=1)
    torch.manual_seed(0)
    *_, chosen = method.compress(Point("dense", copy.deepcopy(net)), context)
    context.validation = random_split(32, seed=9)
    torch.manual_seed(0)
    *_, other = method.compress(Point("dense", copy.deepcopy(net)), context)
    assert torch.equal(chosen.net.net[1].weight, other.net.net[1].weight)
    assert not torch.equal(chosen.net.thresholds, other.net.thresholds)


def test_multiply_adds_of_each_block_and_exit():
    assert count_macs(exits(), torch.zeros(1, 1, 4, 4)) == ([128, 48 + 18], [24])


def test_metrics_of_early_exits_by_hand():
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
def test_methods_that_need_every_layer_refuse_a_network_with_early_exits(method):
    with pytest.raises(UserError, match="early") as told:
        method().check(exits())
    assert "\n" not in str(told.value)


def test_a_single_test_example_has_no_interval():
    rows = [{}, {"macs": 80.0, "latency_ms": 6.0}, {"macs": 20.0, "latency_ms": 2.0, "entered": [1, 0]}]
    found = configured(EarlyExit).metrics(rows, np.ones((3, 1), bool))
    assert found["exit_error_increase"] == 0
    assert "exit_error_increase_low" not in found


def test_the_figure_shows_the_contexts_pictures():
    method, context = configured(EarlyExit, finetune_epochs=1), Bench(network([8, 6]))
    context.picture = lambda x: np.full(x.shape, 7, np.uint8)
    list(method.compress(Point("dense", network([8, 6])), context))
    (figure,) = method.grids(context.validation).values()
    assert {panel.picture.min() for _, panels in figure for panel in panels} == {7}
