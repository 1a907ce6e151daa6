"""Maps through captum: against known answers, and against what makes them silently wrong."""

import math
from types import SimpleNamespace

import captum.attr
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mlbench.core.errors import SettingError, UserError
from mlbench.explain.attribution.captum import Captum
from mlbench.explain.attribution.gradcam import GradCam, of_last_maps
from mlbench.explain.attribution.guided_backprop import GuidedBackprop
from mlbench.explain.attribution.integrated_gradients import IntegratedGradients
from mlbench.explain.attribution.kernel_shap import KernelShap
from mlbench.explain.attribution.lime import Lime
from mlbench.explain.attribution.metrics import blurred, completeness_error
from mlbench.explain.attribution.segments import slic
from mlbench.models.cnn import CNN, LeNet5
from mlbench.models.mlp import MLP, Linear
from mlbench.models.resnet import ResNet18
from tests.techniques import configured

pytestmark = pytest.mark.usefixtures("undrawn")  # nobody looks at the figures

SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32)]


def pictures(shape, count=3, seed=0):
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))


class Train:
    """Training pictures."""

    labels = torch.zeros(20)

    def __init__(self, shape):
        self.shape = shape

    def __len__(self):
        return 20

    def batch(self, index):
        return SimpleNamespace(x=pictures(self.shape, len(index)))


def looked(method, black=-1.5, shape=(1, 8, 8)):
    """A method that has seen its data."""
    black, generator = torch.full((1, shape[0], 1, 1), black), torch.Generator().manual_seed(1)
    method.look(SimpleNamespace(black=black, generator=generator, train=Train(shape)))
    return method


def network(shape, seed=0):
    torch.manual_seed(seed)
    net = CNN(shape, 10, [4, 6]).eval()
    net[1].running_mean.normal_()
    net[-1].weight.data *= 20  # outputs of a size that captum's own Lasso does not make 0
    return net


def make(name):
    made = {
        "ig": lambda: configured(IntegratedGradients, steps=20),
        "lime": lambda: configured(Lime, segments=6, perturbations=40),
        "shap": lambda: configured(KernelShap, segments=6, perturbations=40),
        "gradcam": lambda: configured(GradCam),
        "guided": lambda: configured(GuidedBackprop),
        "captum": lambda: configured(Captum, attribution="DeepLift"),
    }
    return made[name]()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["ig", "lime", "shap", "gradcam", "guided", "captum"])
def test_maps_are_signed_and_leave_no_trace(name, shape):
    method, net, x, target = make(name), network(shape), pictures(shape), torch.tensor([1, 0, 7])
    before = {path: {key: id(value) for key, value in vars(module).items()} for path, module in net.named_modules()}
    tensors = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    torch.manual_seed(3)
    method.check(net)
    method.rehearse(net, x)
    maps = looked(method, shape=shape).maps(net, x, target)
    drawn, mine = torch.rand(1), np.random.get_state()[1].copy()
    torch.manual_seed(3)
    assert torch.equal(torch.rand(1), drawn)  # the global generators are as they were
    again = looked(make(name), shape=shape)
    again.rehearse(net, x)
    assert torch.equal(looked(again, shape=shape).maps(net, x, target), maps)
    assert (np.random.get_state()[1] == mine).all()
    assert maps.shape[2:] == x.shape[2:]
    assert maps.shape[1] in (1, shape[0])
    assert maps.min() < 0 < maps.max()
    assert not maps.requires_grad
    assert not torch.allclose(maps[1:2], method.maps(net, x[1:2], torch.tensor([3])))  # of the class asked for
    after = {path: {key: id(value) for key, value in vars(module).items()} for path, module in net.named_modules()}
    assert after == before
    assert all(torch.equal(tensor, tensors[key]) for key, tensor in net.state_dict().items())
    assert not any(module._forward_hooks or module._backward_hooks or module._forward_pre_hooks for module in net)
    assert all(p.grad is None for p in net.parameters())
    assert not x.requires_grad


@pytest.mark.parametrize("baseline", ["zero", "mean", "blur"])
def test_integrated_gradients_of_a_linear_network_are_weights_times_the_way(baseline):
    net, x, target = Linear((1, 8, 8), 5), pictures((1, 8, 8)), torch.tensor([0, 4, 2])
    start = {"zero": torch.full_like(x, -1.5), "mean": torch.zeros_like(x), "blur": blurred(x)}[baseline]
    maps = looked(configured(IntegratedGradients, baseline=baseline, steps=7)).maps(net, x, target)
    torch.testing.assert_close(maps, (x - start) * net[1].weight[target].view_as(x), rtol=1e-5, atol=1e-6)


def test_integrated_gradients_are_captums_whatever_the_batch_and_complete():
    net, x, target = network((3, 32, 32)), pictures((3, 32, 32), 5), torch.arange(5)
    largest = []
    hook = net.register_forward_pre_hook(lambda module, inputs: largest.append(len(inputs[0])))
    method = looked(configured(IntegratedGradients), shape=(3, 32, 32))
    maps = method.maps(net, x, target)
    hook.remove()
    assert max(largest) <= 64
    theirs = captum.attr.IntegratedGradients(net).attribute(x.requires_grad_(), 0.0, target=target, n_steps=200)
    torch.testing.assert_close(maps, theirs, rtol=1e-4, atol=1e-6)
    assert completeness_error(net, x, method.origin(x), maps, target) < 0.01
    assert completeness_error(net, x, method.origin(x), 2 * maps, target) == pytest.approx(1, abs=0.02)


class Functional(nn.Sequential):
    def forward(self, x):
        return self[2](F.relu(self[1](x.flatten(1))))


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(64, 9), nn.Linear(9, 9), nn.Linear(9, 5)
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.last(self.relu(self.second(self.relu(self.first(x.flatten(1))))))


class Clamped(Functional):
    def forward(self, x):
        return self[2](self[1](x.flatten(1)).clamp(min=0))


class Normalised(nn.Sequential):
    def forward(self, x):
        return F.normalize(super().forward(x.flatten(1).clamp(max=9)))


@pytest.mark.parametrize("name", ["guided", "captum"])
@pytest.mark.parametrize("cls", [Functional, Clamped])
def test_functional_relus_are_refused(cls, name):
    with pytest.raises(UserError, match="1 ReLU"):
        make(name).rehearse(cls(nn.Flatten(), nn.Linear(64, 9), nn.Linear(9, 5)), pictures((1, 8, 8)))


@pytest.mark.parametrize("name", ["guided", "captum"])
def test_a_relu_that_is_used_twice_is_refused(name):
    with pytest.raises(UserError, match=r"ReLU relu 2 times"):
        make(name).rehearse(Shared(), pictures((1, 8, 8)))


def test_relu6_is_no_relu_to_captum():
    with pytest.raises(UserError, match="1 ReLU"):
        make("guided").rehearse(nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.ReLU6()), pictures((1, 8, 8)))


@pytest.mark.parametrize("inplace", [False, True])
def test_relus_that_are_modules_pass(inplace):
    for net in (
        MLP((1, 28, 28), 5, [9, 9], dropout=0.1, batch_norm=True),
        CNN((1, 28, 28), 5, [4, 4]),
        LeNet5((1, 28, 28), 5),
        Linear((1, 28, 28), 5),
        ResNet18((1, 28, 28), 5, width=4),
        Normalised(nn.Linear(784, 9), nn.ReLU(), nn.Linear(9, 5)),
    ):
        for module in net.modules():
            if isinstance(module, nn.ReLU):
                module.inplace = inplace
        make("guided").rehearse(net.eval(), pictures((1, 28, 28)))


def test_guided_backprop_by_hand():
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    x = pictures((1, 2, 2), 1)
    first, last = net[1].weight.detach(), net[3].weight.detach()
    passed = (last[1] * (net[1](x.flatten(1))[0] > 0)).clamp(min=0)
    maps = configured(GuidedBackprop).maps(net, x, torch.tensor([1]))
    torch.testing.assert_close(maps, (passed @ first).view_as(x))


def test_gradcam_by_hand():
    """On A, the last convolution's ReLU: the mean of dy/dA over places, times A, over channels."""
    net, x = network((1, 28, 28)), pictures((1, 28, 28), 2)
    target = torch.tensor([3, 1])
    features = nn.Sequential(*list(net)[:7])(x).detach().requires_grad_()
    nn.Sequential(*list(net)[7:])(features).gather(1, target[:, None]).sum().backward()
    coarse = (features.grad.mean((2, 3), keepdim=True) * features).sum(1, keepdim=True).detach()
    expected = captum.attr.LayerAttribution.interpolate(coarse, (28, 28), "bilinear")
    torch.testing.assert_close(configured(GradCam).maps(net, x, target), expected)
    torch.testing.assert_close(configured(GradCam, layer="6").maps(net, x, target), expected)
    assert not torch.allclose(configured(GradCam, layer="4").maps(net, x, target), expected)


class Backwards(nn.Module):
    """The convolution that runs last was made first."""

    def __init__(self):
        super().__init__()
        self.late, self.early = nn.Conv2d(2, 3, 3), nn.Conv2d(1, 2, 3)

    def forward(self, x):
        return self.late(self.early(x)).mean((2, 3))


def part(net, first, last):
    return nn.Sequential(*list(net)[first:last])


class SharedReLU(nn.Module):
    """Its only ReLU runs twice, as in many published networks."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 2, 3), nn.Conv2d(2, 3, 3)
        self.relu = nn.ReLU6(inplace=True)

    def features(self, x):
        return self.relu(self.second(self.relu(self.first(x))))

    def forward(self, x):
        return self.features(x).mean((2, 3))


class Functional(SharedReLU):
    """Batch norm, an activation without a module, and a sum."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def features(self, x):
        maps = self.norm(self.second(F.gelu(self.first(x))))
        return F.relu(maps + 0.1)


@pytest.mark.parametrize(
    ("net", "features", "rest"),
    [
        (Backwards(), lambda net, x: net.late(net.early(x)), lambda net, maps: maps.mean((2, 3))),
        (SharedReLU(), lambda net, x: net.features(x), lambda net, maps: maps.mean((2, 3))),
        (Functional(), lambda net, x: net.features(x), lambda net, maps: maps.mean((2, 3))),
        (CNN((1, 16, 16), 3, [4, 6]), lambda net, x: part(net, 0, 7)(x), lambda net, maps: part(net, 7, None)(maps)),
        (ResNet18((1, 16, 16), 3, 4), lambda net, x: part(net, 0, 11)(x), lambda net, maps: part(net, 11, None)(maps)),
    ],
)
def test_gradcam_looks_where_the_network_reads_its_last_maps(net, features, rest):
    net, x, target = net.eval(), pictures((1, 16, 16), 2), torch.tensor([2, 0])
    maps = features(net, x).detach().clone().requires_grad_()
    rest(net, maps).gather(1, target[:, None]).sum().backward()
    coarse = (maps.grad.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True).detach()
    torch.testing.assert_close(of_last_maps(net, x, target), coarse)


def test_gradcam_refuses_what_has_no_places():
    with pytest.raises(UserError, match="needs a network with a convolution"):
        configured(GradCam).check(Linear((1, 8, 8), 3))
    attention = nn.Sequential(nn.Conv2d(1, 4, 2), nn.Flatten(2), nn.MultiheadAttention(9, 3))
    with pytest.raises(SettingError, match="attention"):
        configured(GradCam).check(attention)
    net = network((1, 8, 8))
    with pytest.raises(UserError, match="no such layer"):
        configured(GradCam, layer="44").check(net)
    with pytest.raises(SettingError, match=r"\[B, K, h, w\]"):
        configured(GradCam, layer=str(len(net) - 1)).rehearse(net, pictures((1, 8, 8)))


class Additive(nn.Module):
    """Each pixel adds its own share to the logit, so a superpixel is worth the sum over its pixels."""

    def __init__(self, shape):
        super().__init__()
        self.weight = pictures(shape, 2, seed=9).flatten(1)

    def forward(self, x):
        return 0.5 + x.flatten(1) @ self.weight.T


def worths(net, x, labels, target):
    shares = (x[0].flatten() * net.weight[target]).view_as(x[0]).sum(0)
    return torch.stack([shares[labels == number].sum() for number in labels.unique()])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("cls", "within"), [(Lime, 0.05), (KernelShap, 1e-3)])
def test_superpixels_get_what_they_add(cls, within, shape):
    x = F.interpolate(pictures((shape[0], 4, 4), 1, seed=5), shape[1:])  # 16 squares of one colour
    net, labels = Additive(shape), slic(x, 10)[0]
    assert len(labels.unique()) >= 3
    maps = looked(configured(cls, segments=10)).maps(net, x, torch.tensor([1]))
    expected = worths(net, x, labels, 1)[labels]
    assert (maps[0, 0] - expected).abs().max() < within * expected.abs().max()


def test_lime_counts_what_is_near_the_picture_most():
    # by hand: the cosine between ones and a 0/1 vector is the root of the share that stays
    kept = torch.tensor([[1.0, 1, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0]])
    expected = [1.0, math.exp(-((0.5 / 0.25) ** 2)), math.exp(-((1 / 0.25) ** 2))]
    assert configured(Lime, width=0.25).weights(kept).tolist() == pytest.approx(expected)


class Pairs(nn.Module):
    """One superpixel counts only where another one is: Shapley divides what both are worth."""

    def __init__(self, labels):
        super().__init__()
        self.labels = labels

    def forward(self, x):
        there = torch.stack([(x[:, 0] * (self.labels == number)).abs().sum((1, 2)) > 0 for number in (0, 1, 2)], 1)
        first, second, third = there.float().unbind(1)
        return torch.stack([6 * first * second + third, first], 1)


def test_kernel_shap_divides_what_two_superpixels_are_worth_together():
    x = pictures((1, 8, 8), 1).abs() + 1
    labels = slic(x, 6)[0]
    maps = looked(configured(KernelShap, segments=6, perturbations=2000)).maps(Pairs(labels), x, torch.tensor([0]))[
        0, 0
    ]
    found = [maps[labels == number].mean().item() for number in labels.unique()]
    assert found == pytest.approx([3, 3, 1] + [0] * (len(found) - 3), abs=0.15)
    assert sum(found) == pytest.approx(7, abs=1e-3)


@pytest.mark.parametrize("cls", [Lime, KernelShap])
def test_a_picture_that_is_one_superpixel_is_worth_all(cls, monkeypatch):
    monkeypatch.setattr(
        "mlbench.explain.attribution.superpixels.slic", lambda x, segments: torch.zeros(len(x), 4, 4, dtype=int)
    )
    net = Additive((1, 4, 4))
    maps = looked(configured(cls)).maps(net, torch.ones(2, 1, 4, 4), torch.tensor([0, 1]))
    torch.testing.assert_close(maps, net.weight.sum(1).view(2, 1, 1, 1).expand(2, 1, 4, 4))


class Unflattened(nn.Sequential):
    def forward(self, x):
        return self[3](self[2](self[1](self[0](x))).flatten(1))


@pytest.mark.parametrize(
    ("name", "construct", "attribute", "segments"),
    [
        ("InputXGradient", {}, {}, None),
        ("captum.attr.Deconvolution", {}, {}, None),
        ("DeepLiftShap", {}, {"baselines": "train"}, None),
        ("GradientShap", {}, {"baselines": "train", "stdevs": 0.1}, None),
        ("LRP", {}, {}, None),
        ("Occlusion", {}, {"sliding_window_shapes": [1, 3, 3], "strides": [1, 2, 2]}, None),
        ("FeatureAblation", {}, {"baselines": "zero"}, 6),
        ("ShapleyValueSampling", {}, {"n_samples": 3}, 6),
        ("Lime", {}, {"n_samples": 30}, 6),
        ("KernelShap", {}, {"n_samples": 30}, 6),
        ("LayerGradCam", {"layer": "4"}, {}, None),
        ("LayerConductance", {"layer": "0"}, {"n_steps": 5}, None),
        ("GuidedGradCam", {"layer": "4"}, {}, None),
        ("NeuronGradient", {"layer": "4"}, {"neuron_selector": [0, 1, 1]}, None),
        ("NoiseTunnel", {"attribution_method": "Saliency"}, {"nt_samples": 3, "stdevs": 0.1}, None),
    ],
)
def test_any_class_of_captum_from_plain_settings(name, construct, attribute, segments):
    net, x = network((1, 8, 8)), pictures((1, 8, 8), 2)
    if name == "LRP":  # for which captum has no rule for nn.Flatten
        net = Unflattened(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Linear(27, 5)).eval()
    method = configured(Captum, attribution=name, construct=construct, attribute=attribute, segments=segments)
    method.check(net)
    method.rehearse(net, x)
    maps = looked(method, shape=tuple(x.shape[1:])).maps(net, x, torch.tensor([1, 2]))
    assert maps.shape == x.shape
    assert maps.min() < 0 < maps.max()


def test_saliency_keeps_its_sign_under_captum_too():
    net, x = Linear((1, 8, 8), 5), pictures((1, 8, 8), 1)
    maps = configured(Captum, attribution="Saliency").maps(net, x, torch.tensor([2]))
    torch.testing.assert_close(maps.flatten(), net[1].weight[2])
    size = configured(Captum, attribution="Saliency", attribute={"abs": True}).maps(net, x, torch.tensor([2]))
    torch.testing.assert_close(size, maps.abs())


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"attribution": "DeepLif"}, "did you mean 'DeepLift'"),
        ({"attribution": "os.system"}, "no attribution class"),
        ({"attribution": "visualization"}, "no attribution class"),
        ({"attribution": "LayerGradCam"}, "construct.layer has no value"),
        (
            {"attribution": "LayerGradCam", "construct": {"layer": "conv"}},
            "layer=conv: the network has no such layer",
        ),
        ({"attribution": "Occlusion"}, "sliding_window_shapes has no value"),
        ({"attribution": "DeepLift", "attribute": {"baseline": 0}}, "did you mean 'baselines'"),
        ({"attribution": "DeepLift", "attribute": {"target": 0}}, "no such setting"),
        ({"attribution": "DeepLift", "attribute": {"baselines": "black"}}, "zero, mean, blur or train"),
        ({"attribution": "IntegratedGradients", "attribute": {"method": "euler"}}, "does not work with these settings"),
        ({"attribution": "LayerActivation", "construct": {"layer": "9"}}, "no map"),
        ({"attribution": "NoiseTunnel", "construct": {"attribution_method": "eval"}}, "no attribution class"),
    ],
)
def test_mistakes_get_short_answers(settings, told):
    def tried():
        method, net = configured(Captum, **settings), network((1, 8, 8))
        method.check(net)
        method.rehearse(net, pictures((1, 8, 8)))

    with pytest.raises((UserError, SettingError), match=told) as caught:
        tried()
    assert len(str(caught.value).splitlines()) <= 2


def test_a_users_own_yaml_names_a_class_of_captum(mlbench, tmp_path):
    own = tmp_path / "conf" / "explain" / "mine.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("defaults: [captum, _self_]\nattribution: LayerGradCam\nconstruct: {layer: '4'}\nsamples: 3\n")
    small = ("--config-dir", str(own.parents[1]), "explain=mine", "data=digits", "model=cnn", "threads=1")
    small += ("train.epochs=1", "model.channels=[3,4]")
    code, _, error = mlbench(*small)
    assert code == 0, error
    assert list((tmp_path / "out").glob("explain/mine-digits-cnn/*/scores.csv"))
    code, _, error = mlbench(*small, "explain.construct={layer: '44'}")
    assert code == 2, error
    assert "layer=44: the network has no such layer" in error


@pytest.mark.parametrize("perturbations", [10, 11, 200, 201])
def test_kernel_shap_draws_at_most_as_many_perturbations_as_set(perturbations):
    kept = configured(KernelShap, perturbations=perturbations).sample_masks(8)
    assert len(kept) == perturbations - perturbations % 2
    assert torch.equal(kept.sum(0), torch.full((8,), len(kept) / 2))  # each picture with its opposite
