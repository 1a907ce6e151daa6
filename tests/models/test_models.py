import pytest
import torch
from torch import nn

from mlbench.models.cnn import CNN, LeNet5
from mlbench.models.mlp import MLP, Linear
from mlbench.models.resnet import ResNet18
from mlbench.models.torchvision import Torchvision

MNIST, CIFAR = (1, 28, 28), (3, 32, 32)


@pytest.mark.parametrize(
    ("net", "shape", "parameters"),
    [
        (lambda: Linear(MNIST, 10), MNIST, 7_850),
        (lambda: MLP(MNIST, 10, [100, 100]), MNIST, 89_610),
        (lambda: MLP(MNIST, 10, [300, 100]), MNIST, 266_610),  # Han et al. 2015: 267K
        (lambda: MLP(MNIST, 10, [100, 100], batch_norm=True), MNIST, 89_610 + 400),
        (lambda: LeNet5(MNIST, 10), MNIST, 431_080),  # Han et al. 2015: 431K
        (lambda: CNN(MNIST, 10, [8]), MNIST, 8 * 9 + 16 + 90),
        (lambda: ResNet18(CIFAR, 10, 64), CIFAR, 11_173_962),  # the usual CIFAR ResNet-18
        (lambda: ResNet18(CIFAR, 100, 20), CIFAR, 1_109_240),  # the GEM paper's
    ],
)
def test_parameter_counts_and_shapes(net, shape, parameters):
    net = net()
    assert sum(p.numel() for p in net.parameters()) == parameters
    assert net.eval()(torch.zeros(2, *shape)).shape[0] == 2


def test_batch_norm_stands_between_the_linear_map_and_the_relu():
    kinds = [type(layer).__name__ for layer in MLP(MNIST, 10, [5], dropout=0.1, batch_norm=True)]
    assert kinds == ["Flatten", "Linear", "BatchNorm1d", "ReLU", "Dropout", "Linear"]


def test_no_relu_is_shared():
    """Attribution methods hook ReLU modules; one used twice would silently give wrong maps."""
    net, calls = ResNet18(CIFAR, 10, 4).eval(), []
    for module in net.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(lambda module, *_: calls.append(module))
    net(torch.zeros(1, *CIFAR))
    assert len(calls) == len(set(calls)) == 17


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MLP(MNIST, 10, [0]), "hidden"),
        (lambda: LeNet5((1, 8, 8), 10), "16x16"),
        (lambda: CNN((1, 8, 8), 10, [4, 4, 4, 4]), "poolings"),
        (lambda: CNN((1, 8, 8), 10, []), "channels"),
        (lambda: CNN((1, 8, 8), 10, [4], over_places="median"), "over_places"),
        (lambda: ResNet18((1, 4, 4), 10, 4), "8x8"),
        (lambda: ResNet18(CIFAR, 10, 0), "width"),
        (lambda: Torchvision(CIFAR, 10, "resnet_eighteen"), "name=resnet_eighteen"),
        (lambda: Torchvision((2, 32, 32), 10, "resnet18"), "channels"),
    ],
)
def test_unsuitable_inputs_and_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("shape", [(1, 32, 32), CIFAR])
def test_torchvision_network_gets_as_many_outputs_as_asked_for(shape):
    assert Torchvision(shape, 7, "mobilenet_v3_small").eval()(torch.zeros(2, *shape)).shape == (2, 7)
