"""Relevance propagation: by hand in plain torch, against input times gradient, and what must be conserved."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlbench.core.errors import SettingError, UserError
from mlbench.explain.attribution.lrp import LRP
from mlbench.explain.base import input_gradient
from mlbench.models.cnn import CNN, LeNet5
from mlbench.models.mlp import MLP
from mlbench.models.resnet import ResNet18
from mlbench.models.torchvision import Torchvision
from tests.explain.test_inference_copy import used
from tests.techniques import configured

PLAIN = {"gamma": 0.0, "epsilon": 1e-9, "first": "all"}


class Padded(nn.Conv2d):
    """Pads by a layer inside, as those of EfficientNet-Lite0."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs, 3, bias=False)
        self.padding_layer = nn.ZeroPad2d(1)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(self.padding_layer(x), self.weight, self.bias)


class Block(nn.Module):
    """One activation for all layers, a sum and a mean by functions, and batch norms."""

    def __init__(self, activation: nn.Module):
        super().__init__()
        self.first, self.second, self.third = Padded(3, 4), Padded(4, 4), Padded(4, 4)
        self.one, self.two, self.three = (nn.BatchNorm2d(4) for _ in range(3))
        self.activation, self.last = activation, nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        before = self.activation(self.one(self.first(x)))
        inner = self.activation(self.two(self.second(before)))
        inner = F.relu(self.three(self.third(inner)) + before)
        return self.last(inner.mean((2, 3)))


def ready(net, shape, count=2):
    """(network with used batch norms, inputs, classes)."""
    torch.manual_seed(0)
    return used(net()), torch.randn(count, *shape), torch.arange(count) + 1


@pytest.mark.parametrize(
    ("net", "shape"),
    [
        (lambda: CNN((3, 16, 16), 10, [4, 6]), (3, 16, 16)),
        (lambda: LeNet5((1, 16, 16), 10), (1, 16, 16)),
        (lambda: MLP((1, 4, 4), 5, [8, 8], dropout=0.5, batch_norm=True), (1, 4, 4)),
        (lambda: ResNet18((3, 8, 8), 10, 4), (3, 8, 8)),
        (lambda: Torchvision((1, 32, 32), 10, "resnet18"), (1, 32, 32)),
        (lambda: Block(nn.ReLU(inplace=True)), (3, 6, 6)),
    ],
)
def test_without_gamma_and_epsilon_it_is_input_times_gradient(net, shape):
    net, x, target = ready(net, shape)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    method = configured(LRP, **PLAIN)
    method.rehearse(net, x)
    maps = method.maps(net, x, target)
    expected = x * input_gradient(net, x, target)
    assert (maps - expected).norm() < 1e-3 * expected.norm()
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())


@pytest.mark.parametrize("gamma", [0.0, 0.25])
@pytest.mark.parametrize("first", ["all", "flat", "box"])
def test_without_biases_relevance_adds_up_to_the_logit(gamma, first):
    """Fresh batch norms shift nothing. Inputs of 0.1 or more, so that the first sums are not near 0."""
    torch.manual_seed(0)
    net = ResNet18((3, 8, 8), 10, 4).eval()
    nn.init.zeros_(net[-1].bias)
    x, target = torch.rand(3, 3, 8, 8) + 0.1, torch.tensor([1, 5, 5])
    method = configured(LRP, gamma=gamma, epsilon=1e-9, first=first)
    method.low, method.high = torch.tensor(-0.5), torch.tensor(2.0)
    sums = method.maps(net.double(), x.double(), target).sum((1, 2, 3))
    torch.testing.assert_close(sums, net(x.double()).gather(1, target[:, None])[:, 0], rtol=1e-4, atol=1e-6)


def test_relu6_passes_on_what_its_gradient_stops():
    net = Block(nn.ReLU6())
    for layer in (net.first, net.second, net.third):
        layer.weight.data.abs_().mul_(1000)  # far above 6
    nn.init.zeros_(net.last.bias)
    net, x = net.double().eval(), torch.rand(1, 3, 6, 6).double()
    sums = configured(LRP, **PLAIN).maps(net, x, torch.tensor([2])).sum((1, 2, 3))
    assert input_gradient(net, x, torch.tensor([2])).abs().max() == 0
    torch.testing.assert_close(sums, net(x)[:, 2], rtol=1e-5, atol=0)


def gamma_by_hand(x: Tensor, weight: Tensor, bias: Tensor, relevance: Tensor, gamma: float) -> Tensor:
    """Of one example [I], weights [O, I] and relevance [O]: Andeol et al. 2021, for inputs of either sign."""
    found = torch.zeros_like(x)
    for row, shift, part in zip(weight, bias, relevance, strict=True):
        sign = torch.sign(row @ x + shift)  # of the output; contributions of this sign count more
        terms = row * x
        terms = terms + gamma * terms * (terms * sign > 0)
        total = terms.sum() + shift + gamma * shift * (shift * sign > 0)
        found += terms / total * part
    return found


def test_a_convolution_with_gamma_by_hand():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(12, 4)).double().eval()
    x = torch.randn(1, 2, 3, 3).double()
    relevance = net[3].weight[2] * net[:3](x)[0]  # epsilon near 0
    basis = torch.eye(18).double().view(18, 2, 3, 3)
    matrix = (net[0](basis) - net[0](0 * basis)).flatten(1).T  # the convolution as one, [12, 18]
    expected = gamma_by_hand(x.flatten(), matrix, net[0].bias.repeat_interleave(4), relevance, gamma=0.5)
    maps = configured(LRP, gamma=0.5, epsilon=1e-12, first="all").maps(net, x, torch.tensor([2]))
    torch.testing.assert_close(maps.flatten(), expected, rtol=1e-6, atol=1e-9)


def test_linear_layers_with_epsilon_by_hand():
    """Bach et al. 2015, eq. 58; with an epsilon that is not small."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).double().eval()
    x, epsilon = torch.randn(1, 1, 2, 2).double(), 0.1
    layers, relevance = (net[1], net[3]), None
    inputs = (x.flatten(), net[:3](x)[0])
    for layer, values in zip(reversed(layers), reversed(inputs), strict=True):
        sums = layer.weight @ values + layer.bias
        relevance = sums * torch.eye(2)[1] if relevance is None else relevance
        relevance = (layer.weight * values * (relevance / (sums + epsilon * sums.sign()))[:, None]).sum(0)
    maps = configured(LRP, epsilon=epsilon, first="all").maps(net, x, torch.tensor([1]))
    torch.testing.assert_close(maps.flatten(), relevance)


def test_the_rules_of_the_first_layer_by_hand():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).double().eval()
    x, target = torch.rand(1, 1, 2, 2).double(), torch.tensor([1])
    weight, logit, low, high = net[1].weight[1], net(x)[0, 1], torch.tensor(-1.0), torch.tensor(2.0)
    box, flat = (configured(LRP, epsilon=1e-12, first=first) for first in ("box", "flat"))
    context = SimpleNamespace(
        black=torch.zeros(1, 1, 1, 1), test=SimpleNamespace(normalise=lambda raw: 3 * raw / 255 - 1),
        task=SimpleNamespace(modality=SimpleNamespace(value_range=(0.0, 255.0))),
    )  # fmt: skip
    box.look(context)
    terms = weight * x.flatten() - low * weight.clamp(min=0) - high * weight.clamp(max=0)
    torch.testing.assert_close(box.maps(net, x, target).flatten(), terms / terms.sum() * logit)  # without the bias
    torch.testing.assert_close(flat.maps(net, x, target).flatten(), (logit / 4).expand(4))


def test_maps_of_several_classes_are_those_of_each():
    net, x, target = ready(lambda: CNN((3, 8, 8), 10, [4]), (3, 8, 8))
    method = configured(LRP, first="flat")
    both = method.class_maps(net, x, torch.stack([target, target + 3], 1))
    assert both.shape == (2, 2, 3, 8, 8)
    for number in range(2):
        torch.testing.assert_close(both[:, number], method.maps(net, x, target + 3 * number))


class Gated(nn.Module):
    def forward(self, x):
        return (x * x.sigmoid()).mean((2, 3))


class Looking(nn.Module):
    def forward(self, x):
        return x.mean((2, 3)) if x.sum() > 0 else x.amax((2, 3))


class Attending(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(3, 1, batch_first=True)

    def forward(self, x):
        places = x.flatten(2).transpose(1, 2)
        return self.attention(places, places, places)[0].mean(1)


@pytest.mark.parametrize(
    ("net", "told"), [(Gated, "by sigmoid"), (Looking, "cannot follow"), (Attending, "MultiheadAttention")]
)
def test_a_network_without_rules_is_refused_in_two_lines(net, told):
    with pytest.raises(UserError, match=told) as error:
        configured(LRP).rehearse(net().eval(), torch.randn(1, 3, 4, 4))
    assert len(str(error.value).splitlines()) <= 2


def test_settings_out_of_range():
    for wrong in ({"gamma": -1.0}, {"epsilon": 0.0}):
        with pytest.raises(SettingError):
            configured(LRP, **wrong)
