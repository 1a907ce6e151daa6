"""Weight sharing: k-means, and the training of centroids."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mlbench.compress.base import Point, weights
from mlbench.compress.quantisation.cluster import Cluster, Shared, k_means
from mlbench.core.errors import SettingError
from mlbench.models.mlp import MLP
from mlbench.training.theta import Theta
from tests.compress.test_unstructured_pruning import Bench, network
from tests.techniques import configured
from tests.training.test_theta import training


def test_k_means_from_evenly_spaced_centroids():
    values = np.float32([-1.0, -0.9, 0.1, 0.3, 0.9, 1.1])
    centroids, numbers = k_means(values, 3)  # starts at -1, .05, 1.1
    assert centroids == pytest.approx([-0.95, 0.2, 1.0])
    assert numbers.tolist() == [0, 0, 1, 1, 2, 2]


def test_fewer_values_than_centroids_stay_as_they_are():
    values = np.float32([0.5, -0.25, 0.5])
    centroids, numbers = k_means(values, 4)
    assert centroids[numbers].tolist() == values.tolist()


@pytest.mark.parametrize("settings", [{"momentum": 0.9, "weight_decay": 0.01}, {"optimizer": "adam", "lr": 0.01}])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_as_many_values_as_bits_allow_also_after_training(bits, settings):
    net = network([12])
    with torch.no_grad():
        net[1].weight[net[1].weight.abs() < 0.1] = 0  # pruned before
    zeros = {name: weight == 0 for name, weight in weights(net).items()}
    given, context = net[1].weight.detach().clone(), Bench(net, training(epochs=3, **settings))
    (point,) = configured(Cluster, bits=bits, finetune_epochs=2, finetune_lr=0.01).compress(
        Point("dense", net), context
    )
    for name, weight in weights(point.net).items():
        assert torch.equal(weight == 0, zeros[name])
        assert len(weight[weight != 0].unique()) <= 2**bits
    (untrained,) = configured(Cluster, bits=bits, finetune_epochs=0).compress(Point("dense", net), context)
    assert any(not torch.equal(a, b) for a, b in zip(point.net.parameters(), untrained.net.parameters(), strict=True))
    assert torch.equal(net[1].weight, given)  # the network that was handed in is left alone


def test_the_gradient_of_a_centroid_is_the_sum_over_its_weights():
    torch.manual_seed(0)
    net = MLP((1, 4, 4), 3, [])
    clusters = {"1.weight": torch.randint(-1, 3, (3, 16))}
    theta, learner = Theta(net), Shared(clusters)
    learner.start(net, theta)
    theta.value.normal_()
    centroids = torch.tensor([0.5, -0.2, 0.1], requires_grad=True)
    x, y = torch.randn(5, 1, 4, 4), torch.tensor([0, 1, 2, 1, 0])
    shared = torch.where(clusters["1.weight"] >= 0, centroids[clusters["1.weight"]], 0.0)
    loss = F.cross_entropy(F.linear(x.flatten(1), shared, net[1].bias.detach()), y)
    (expected,) = torch.autograd.grad(loss, centroids)
    with torch.no_grad():
        net[1].weight.copy_(shared)
    F.cross_entropy(net(x), y).backward()
    bias = theta.named(theta.grad)["1.bias"].clone()
    learner.adjust(net, theta)
    found = theta.named(theta.grad)
    for number in range(3):
        assert torch.allclose(found["1.weight"][clusters["1.weight"] == number], expected[number], atol=1e-6)
    assert (found["1.weight"][clusters["1.weight"] < 0] == 0).all()
    assert torch.equal(found["1.bias"], bias)


def test_a_point_for_each_number_of_bits():
    net = network()
    points = list(configured(Cluster, bits=[1, 3], finetune_epochs=0).compress(Point("dense", net), Bench(net)))
    assert [point.stage for point in points] == ["cluster 1 bits", "cluster 3 bits"]
    assert len(points[0].net[1].weight.unique()) == 2
    error = [(point.net[1].weight - net[1].weight).square().mean() for point in points]
    assert error[1] < error[0] / 4


def test_convolutions_may_have_more_bits():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 8, 3), torch.nn.Flatten(), torch.nn.Linear(32, 3))
    method = configured(Cluster, bits=2, convolution_bits=4, finetune_epochs=0)
    (point,) = method.compress(Point("dense", net), Bench(copy.deepcopy(net)))
    assert len(point.net[0].weight.unique()) == 16
    assert len(point.net[2].weight.unique()) == 4


@pytest.mark.parametrize("wrong", [{"bits": 0}, {"bits": 9}, {"bits": []}, {"bits": "many"}, {"convolution_bits": 0}])
def test_settings_out_of_range(wrong):
    with pytest.raises(SettingError):
        configured(Cluster, **wrong)
