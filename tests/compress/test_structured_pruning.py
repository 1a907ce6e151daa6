"""Pruning of neurons and channels: what is removed, by what, and that the rest computes what it did."""

import copy
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from mlbench.compress import base
from mlbench.compress.base import Point
from mlbench.compress.pruning import neuron_importance
from mlbench.compress.pruning.structured import PruneNeurons, outputs
from mlbench.core.errors import UserError
from mlbench.models import surgery
from mlbench.models.cnn import CNN
from mlbench.models.mlp import MLP
from mlbench.models.resnet import ResNet18
from tests.compress.test_factorisation import bench_for, parameters
from tests.compress.test_unstructured_pruning import network
from tests.conftest import random_split
from tests.techniques import configured


def resnet():
    torch.manual_seed(0)
    return ResNet18((3, 8, 8), 5, width=8).eval()


@pytest.mark.parametrize("importance", neuron_importance.IMPORTANCES)
def test_channels_are_really_removed(importance):
    torch.manual_seed(0)
    net = CNN((1, 4, 4), 3, [8, 12])
    method = configured(PruneNeurons, fraction=0.5, importance=importance, finetune_epochs=1)
    (point,) = method.compress(Point("dense", net), bench_for(net))
    assert [layer.weight.shape for layer in outputs(point.net)] == [(4, 1, 3, 3), (6, 4, 3, 3), (3, 6)]


def test_the_pruned_network_computes_the_same_as_with_the_channels_at_zero():
    # independent: set the removed neurons to zero in the network as it was
    net = network([10, 8])
    before = copy.deepcopy(net)
    sizes = [before[place].weight.abs().sum(1) for place in (1, 3)]
    (point,) = configured(PruneNeurons, fraction=0.5, finetune_epochs=0).compress(Point("dense", net), bench_for(net))
    with torch.no_grad():
        for place, size in zip((1, 3), sizes, strict=True):
            gone = size.argsort()[: len(size) // 2]
            before[place].weight[gone] = 0
            before[place].bias[gone] = 0
    x = torch.randn(6, 1, 4, 4)
    torch.testing.assert_close(point.net(x), before(x))
    assert point.net[5].weight.shape == (3, 4)


def first(net, count):
    return nn.Sequential(*list(net)[:count])


def residual_bench(net, count=40):
    context = bench_for(net, (3, 8, 8))
    context.train = random_split(count, shape=(3, 8, 8))
    return context


def lively(net):
    """Batch norms as after training: no two channels alike, and a shift that must not stay behind a removed one."""
    draws = torch.Generator().manual_seed(3)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.bias.data, module.running_var):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=draws))
    return net


def kept(before, after):
    """Which outputs of the layer `before` are still there in `after`, recognised by their batch norm's scale."""
    return torch.isin(before.weight.detach(), after.weight.detach())


@pytest.mark.parametrize("importance", neuron_importance.IMPORTANCES)
def test_a_pruned_residual_network_computes_the_same_as_with_the_channels_at_zero(monkeypatch, importance):
    monkeypatch.setattr(base, "recalibrate", lambda *_: None)  # the statistics would change the outputs
    net, masked = lively(resnet()), lively(resnet())
    method = configured(PruneNeurons, fraction=0.5, importance=importance, finetune_epochs=0)
    (point,) = method.compress(Point("dense", net), residual_bench(net))
    norms = {path: m for path, m in masked.named_modules() if isinstance(m, nn.BatchNorm2d)}
    for path, norm in norms.items():
        here = kept(norm, point.net.get_submodule(path))
        assert here.sum() == len(here) // 2
        with torch.no_grad():
            norm.weight[~here] = 0
            norm.bias[~here] = 0
    for added in (["1", "3.bn2", "4.bn2"], *([f"{i}.bn2", f"{i}.shortcut.1", f"{i + 1}.bn2"] for i in (5, 7, 9))):
        assert len({tuple((norms[path].weight != 0).tolist()) for path in added}) == 1  # a sum loses the same ones
    x = torch.randn(4, 3, 8, 8)
    torch.testing.assert_close(point.net.eval()(x), masked(x), rtol=1e-4, atol=1e-5)
    assert [m.weight.shape[0] for m in outputs(point.net)][-1] == 5


class Mixed(nn.Module):
    """PReLUs of a slope for each channel, branches side by side with a shortcut past them, a transposed convolution."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm, self.slope = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.PReLU(8)
        self.left, self.right, self.joined = nn.Conv2d(8, 4, 3, padding=1), nn.Conv2d(8, 4, 1), nn.PReLU(8)
        self.up, self.over, self.last = nn.ConvTranspose2d(8, 6, 2, stride=2), nn.BatchNorm2d(6), nn.Conv2d(6, 8, 3)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = self.slope(self.norm(self.stem(x)))
        x = self.joined(x + torch.cat([self.left(x), self.right(x)], 1))
        return self.head(self.last(self.over(self.up(x)).relu()).relu().mean((2, 3)))


@pytest.mark.parametrize("importance", neuron_importance.IMPORTANCES)
def test_a_pruned_network_of_many_sorts_computes_the_same_as_with_the_channels_at_zero(monkeypatch, importance):
    monkeypatch.setattr(base, "recalibrate", lambda *_: None)  # the statistics would change the outputs
    torch.manual_seed(0)
    net = lively(Mixed()).eval()
    for slopes in (net.slope, net.joined):
        nn.init.uniform_(slopes.weight, 0.1, 0.9)
    masked = copy.deepcopy(net)
    method = configured(PruneNeurons, fraction=0.5, importance=importance, finetune_epochs=0)
    (point,) = method.compress(Point("dense", net), residual_bench(net))
    left = {}
    for path in ("stem", "norm", "left", "right", "last"):
        layer, after = masked.get_submodule(path), point.net.get_submodule(path)
        left[path] = torch.isin(layer.bias, after.bias)  # no two biases are alike
        with torch.no_grad():
            layer.weight[~left[path]] = 0
            layer.bias[~left[path]] = 0
    assert {path: int(here.sum()) for path, here in left.items()} == {
        "stem": 4, "norm": 4, "left": int(left["stem"][:4].sum()), "right": int(left["stem"][4:].sum()), "last": 4
    }  # fmt: skip
    assert torch.equal(left["stem"], torch.cat([left["left"], left["right"]]))  # a sum loses the same ones
    assert point.net.up.weight.shape == (4, 6, 2, 2)
    x = torch.randn(4, 3, 8, 8)
    torch.testing.assert_close(point.net(x), masked(x), rtol=1e-4, atol=1e-5)


def test_half_the_channels_are_a_quarter_of_the_weights_and_can_be_rebuilt():
    net = resnet()
    context, before = residual_bench(net), parameters(net)
    (point,) = configured(PruneNeurons, fraction=0.5, finetune_epochs=0).compress(Point("dense", net), context)
    assert parameters(point.net) == pytest.approx(before / 4, rel=0.03)
    again = resnet()
    surgery.restore(again, point.net.replaced)
    again.load_state_dict(point.net.state_dict())
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(again.eval()(x), point.net.eval()(x))


class TwoHeads(nn.Module):
    """Output layers that stand first and in the middle, and are added up."""

    def __init__(self):
        super().__init__()
        self.one, self.body, self.two, self.more = nn.Linear(8, 3), nn.Linear(16, 8), nn.Linear(6, 3), nn.Linear(8, 6)

    def forward(self, x):
        inner = self.body(x.flatten(1)).relu()
        return self.one(inner) + self.two(self.more(inner).relu())


def test_output_layers_are_never_pruned_wherever_they_stand():
    torch.manual_seed(0)
    net = TwoHeads()
    (point,) = configured(PruneNeurons, fraction=0.5, finetune_epochs=0).compress(Point("dense", net), bench_for(net))
    assert [tuple(m.weight.shape) for m in outputs(point.net)] == [(3, 4), (4, 16), (3, 3), (3, 4)]


@pytest.mark.parametrize(
    ("fraction", "left"), [(0.1, [1, 1]), (0.05, [1, 1]), (0.3, [3, 2]), (0.99, [10, 8]), (0.5, [5, 4])]
)
def test_every_layer_loses_its_share_and_keeps_one(fraction, left):
    # the trap: int(10 * (1 - 0.9)) is 0, and a layer that would lose everything was left alone
    net = network([10, 8])
    method = configured(PruneNeurons, fraction=fraction, finetune_epochs=0)
    (point,) = method.compress(Point("dense", net), bench_for(net))
    assert [len(m.weight) for m in outputs(point.net)] == [*left, 3]


def test_rounds_remove_shares_of_the_original_channels():
    net = network([32, 16])
    context, sizes = bench_for(net), []
    method = configured(PruneNeurons, fraction=0.25, rounds=3, finetune_epochs=1)
    stages = []
    for point in method.compress(Point("dense", net), context):
        sizes.append([len(m.weight) for m in outputs(point.net)])
        stages.append(point.stage)
    assert sizes == [[24, 12, 3], [16, 8, 3], [8, 4, 3]]
    assert stages == ["prune_neurons 0.75", "prune_neurons 0.5", "prune_neurons 0.25"]
    assert [len(outputs(net)[0].weight) for net, _ in context.fits] == [24, 16, 8]  # fine-tuned after each


def test_running_statistics_are_those_of_the_pruned_network():
    torch.manual_seed(0)
    net = CNN((1, 4, 4), 3, [8, 12])
    context = bench_for(net)
    (point,) = configured(PruneNeurons, fraction=0.5, finetune_epochs=0).compress(Point("dense", net), context)
    with torch.no_grad():
        x = context.train.batch(torch.arange(len(context.train))).x
        behind = first(point.net, 5)(x)
    torch.testing.assert_close(point.net[5].running_mean, behind.mean((0, 2, 3)), rtol=0.02, atol=1e-3)
    torch.testing.assert_close(point.net[5].running_var, behind.var((0, 2, 3)), rtol=0.02, atol=1e-3)


def test_apoz_by_hand():
    net = MLP((1, 4, 4), 3, [6])
    context = bench_for(net)
    found = neuron_importance.apoz(net, context, 64)[net[1]]
    x = context.train.batch(torch.arange(64)).x
    torch.testing.assert_close(found, (net[1](x.flatten(1)) > 0).float().mean(0))


def test_apoz_behind_a_shortcut_counts_the_sum():
    # both layers that are added up are judged by the ReLU behind the sum
    net = lively(resnet())
    context = residual_bench(net)
    found = neuron_importance.apoz(net, context, 40)
    x = context.train.batch(torch.arange(40)).x
    with torch.no_grad():
        active = (first(net, 6)(x) > 0).float().mean((0, 2, 3))
    torch.testing.assert_close(found[net[5].conv2], active)
    torch.testing.assert_close(found[net[5].shortcut[0]], active)
    assert all(found[m].max() <= 1 for m in outputs(net)[:-1])


def test_taylor_is_activation_times_gradient():
    # Molchanov et al. 2017, from the activations themselves
    net = network([6, 5])
    context = bench_for(net)
    found = neuron_importance.taylor(net, context, 64)
    batch = context.train.batch(torch.arange(64))
    behind = first(net, 3)(batch.x)
    second = nn.Sequential(net[3], net[4])(behind)
    loss = nn.functional.cross_entropy(net[5](second), batch.y)
    for layer, active in ((net[1], behind), (net[3], second)):
        (gradient,) = torch.autograd.grad(loss, active, retain_graph=True)
        torch.testing.assert_close(found[layer], (active * gradient).sum(0).abs().detach(), rtol=1e-4, atol=1e-6)


def test_scale_of_batch_norm_and_norms_by_hand():
    net = lively(resnet())
    found = neuron_importance.bn_scale(net, None, 0)
    assert torch.equal(found[net[0]], net[1].weight)
    assert torch.equal(found[net[5].conv2], net[5].bn2.weight)
    assert torch.equal(found[net[5].shortcut[0]], net[5].shortcut[1].weight)
    weight = net[0].weight.detach().numpy()
    np.testing.assert_allclose(neuron_importance.l1(net, None, 0)[net[0]], abs(weight).sum((1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(neuron_importance.l2(net, None, 0)[net[0]], (weight**2).sum((1, 2, 3)) ** 0.5, rtol=1e-5)


def test_torch_pruning_is_needed_only_here(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    with pytest.raises(UserError, match=r"^compress=prune_neurons needs the package torch_pruning.*\[compress\]'$"):
        configured(PruneNeurons).check(network())
    code = "import sys, mlbench.compress.pruning.structured; assert 'torch_pruning' not in sys.modules"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


def test_a_network_without_hidden_neurons_is_refused(mlbench, tmp_path):
    code, _, error = mlbench("compress=prune_neurons", "model=linear")
    assert code == 2
    assert "no neurons or channels" in error
    assert not (tmp_path / "out").exists()
