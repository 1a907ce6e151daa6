"""Networks made ready for many passes: the same function, the same gradients, or the network itself."""

import pytest
import torch
from torch import Tensor, nn

from mlbench.explain.attribution.inference_copy import folded
from mlbench.explain.base import input_gradient
from mlbench.models.cnn import CNN, LeNet5
from mlbench.models.resnet import ResNet18


def used(net: nn.Module) -> nn.Module:
    """A network whose batch norms have seen something, in eval mode."""
    generator = torch.Generator().manual_seed(0)
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor, low in ((norm.running_mean, -1), (norm.running_var, 0.5), (norm.weight.data, 0.5)):
                tensor.uniform_(low, 2, generator=generator)
    return net.eval().requires_grad_(False)


@pytest.mark.parametrize(
    ("net", "shape"),
    [
        (lambda: CNN((3, 32, 32), 10, [4, 6]), (3, 32, 32)),
        (lambda: LeNet5((1, 28, 28), 10), (1, 28, 28)),
        (lambda: ResNet18((3, 16, 16), 10, 4), (3, 16, 16)),
    ],
)
def test_outputs_and_gradients_are_the_networks(net, shape):
    torch.manual_seed(0)
    net, x, target = used(net()), torch.randn(5, *shape), torch.arange(5)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    quick = folded(net, x)
    assert quick is not net
    assert not any(isinstance(module, nn.BatchNorm2d) for module in quick.modules())
    torch.testing.assert_close(quick(x), net(x), rtol=1e-4, atol=1e-4)
    mine, theirs = (input_gradient(one, x, target) for one in (quick, net))
    torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())


def test_convolutions_in_tf32_are_not_taken_for_another_function(monkeypatch):
    """As cuDNN computes them unless it is told not to: with 10 bits of the mantissa."""
    convolve = nn.Conv2d._conv_forward

    def rounded(value: Tensor) -> Tensor:
        bits = value.contiguous().view(torch.int32)
        return ((bits + (1 << 12)) & ~((1 << 13) - 1)).view(torch.float32)

    def in_tf32(layer: nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if torch.backends.cudnn.allow_tf32:
            x, weight = rounded(x), rounded(weight)
        return convolve(layer, x, weight, bias)

    monkeypatch.setattr(nn.Conv2d, "_conv_forward", in_tf32)
    torch.manual_seed(0)
    net, x = used(CNN((3, 32, 32), 10, [16, 32, 32])), torch.randn(8, 3, 32, 32)
    net[-1].weight *= 20  # answers as large as those of a trained network
    before = torch.backends.cudnn.allow_tf32
    assert folded(net, x) is not net
    assert torch.backends.cudnn.allow_tf32 == before is True


class Looking(nn.Module):
    """Cannot be traced: what it does hangs on the picture."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, H, W] to [B, 3]."""
        return (self.norm(x) if x.mean() > 0 else x).mean((2, 3))


class Twice(nn.Module):
    """One convolution before two batch norms."""

    def __init__(self):
        super().__init__()
        self.conv, self.first, self.second = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, H, W] to [B, 3]."""
        return self.second(self.conv(self.first(self.conv(x)).relu())).mean((2, 3))


class Careful(nn.Module):
    """Reads what goes into its ReLU once more, and gives the ReLU a view of what it reads."""

    def __init__(self):
        super().__init__()
        self.conv, self.relu, self.after = nn.Conv2d(3, 3, 1), nn.ReLU(), nn.ReLU()
        self.flat = nn.Flatten()

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, H, W] to [B, 6HW]."""
        inner = self.conv(x)
        return torch.cat([self.relu(inner).flatten(1) - inner.flatten(1), self.after(self.flat(x)) - x.flatten(1)], 1)


def test_no_relu_overwrites_what_is_read_again():
    torch.manual_seed(0)
    net, x = used(Careful()), torch.randn(4, 3, 6, 6)
    kept = x.clone()
    quick = folded(net, x)
    assert quick is not net
    assert torch.equal(x, kept)
    torch.testing.assert_close(quick(x), net(x))


class Derived(nn.Conv2d):
    """A convolution with a forward of its own, as those of EfficientNet-Lite0."""

    def forward(self, x: Tensor) -> Tensor:
        """As that of Conv2d."""
        return nn.functional.conv2d(x, self.weight, self.bias)


def test_a_derived_class_of_convolutions_is_folded():
    torch.manual_seed(0)
    net, x = used(nn.Sequential(Derived(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten())), torch.randn(4, 3, 6, 6)
    quick = folded(net, x)
    assert isinstance(quick[1], nn.Identity)
    torch.testing.assert_close(quick(x), net(x), rtol=1e-4, atol=1e-5)


def test_what_looks_at_its_input_stays_as_it_is():
    net = used(Looking())
    assert folded(net, torch.randn(4, 3, 6, 6)) is net


def test_a_layer_that_is_used_twice_is_not_folded():
    torch.manual_seed(0)
    net, x = used(Twice()), torch.randn(4, 3, 6, 6)
    quick = folded(net, x)
    assert quick is not net
    torch.testing.assert_close(quick(x), net(x))


def test_a_trace_that_says_something_else_is_not_believed(monkeypatch):
    net, x = used(CNN((3, 8, 8), 10, [4])), torch.randn(4, 3, 8, 8)
    monkeypatch.setattr("mlbench.explain.attribution.inference_copy.foldable", lambda trace: [("0", "1")])
    monkeypatch.setattr(
        "mlbench.explain.attribution.inference_copy.fuse_conv_bn_eval", lambda convolution, norm: convolution
    )
    assert folded(net, x) is net


def test_a_network_in_training_and_one_for_texts_stay_as_they_are():
    net = used(CNN((3, 32, 32), 10, [4, 6]))
    assert folded(net, torch.zeros(2, 7, dtype=torch.int64)) is net
    assert folded(net.train(), torch.randn(2, 3, 32, 32)) is net
