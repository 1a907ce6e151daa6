"""The maps written here: against captum, and by hand."""

from types import SimpleNamespace

import captum.attr
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from mlbench.explain.attribution.controls import edges
from mlbench.explain.attribution.input_x_gradient import InputXGradient
from mlbench.explain.attribution.occlusion import Occlusion, squares
from mlbench.explain.attribution.picture_attribution import files
from mlbench.explain.attribution.picture_attribution import picture as read_picture
from mlbench.explain.attribution.saliency import Saliency
from mlbench.explain.attribution.segments import slic
from mlbench.explain.attribution.smoothgrad import SmoothGrad
from mlbench.explain.base import input_gradient
from mlbench.models.cnn import CNN
from mlbench.models.mlp import Linear
from tests.techniques import configured

SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32)]


def example(shape, count=3):
    """(network, pictures, classes)."""
    torch.manual_seed(0)
    return CNN(shape, 10, [4, 6]).eval(), torch.randn(count, *shape), torch.arange(count) + 2


def smooth(seed=0, **settings):
    method = configured(SmoothGrad, **settings)
    method.look(SimpleNamespace(generator=torch.Generator().manual_seed(seed)))
    return method


@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_are_captums_with_their_sign(shape):
    net, x, target = example(shape)
    maps = configured(Saliency).maps(net, x, target)
    theirs = captum.attr.Saliency(net).attribute(x.clone().requires_grad_(), target=target, abs=False)
    torch.testing.assert_close(maps, theirs, rtol=1e-5, atol=1e-7)
    assert maps.min() < 0 < maps.max()  # captum's default takes sizes
    theirs = captum.attr.InputXGradient(net).attribute(x.clone().requires_grad_(), target=target)
    torch.testing.assert_close(configured(InputXGradient).maps(net, x, target), theirs, rtol=1e-5, atol=1e-7)


def test_logits_are_explained_not_probabilities():
    net = Linear((1, 2, 2), 3)
    maps = configured(Saliency).maps(net, torch.full((1, 1, 2, 2), 50.0), torch.tensor([1]))
    torch.testing.assert_close(maps.flatten(), net[1].weight[1])  # the softmax would be flat here


@pytest.mark.parametrize(
    ("moment", "name"), [("mean", "smoothgrad"), ("square", "smoothgrad_sq"), ("variance", "vargrad")]
)
def test_smoothgrad_approaches_captums(moment, name):
    """Both draw their own noise, so many copies of a small network's pictures are compared."""
    net, x, target = example((1, 8, 8), 1)
    maps = smooth(copies=1000, noise=0.15, moment=moment).maps(net, x, target)
    size = 0.15 * (x.max() - x.min()).item()
    torch.manual_seed(1)
    tunnel = captum.attr.NoiseTunnel(captum.attr.Saliency(net))
    settings = {"nt_samples": 1000, "nt_samples_batch_size": 100, "stdevs": size, "nt_type": name, "abs": False}
    theirs = tunnel.attribute(x.clone().requires_grad_(), target=target, **settings)
    assert torch.corrcoef(torch.stack([maps.flatten(), theirs.flatten()]))[0, 1] > 0.95
    assert maps.norm() == pytest.approx(theirs.norm().item(), rel=0.1)


@pytest.mark.parametrize("copies", [7, 64, 150])
def test_smoothgrad_by_hand_from_the_same_noise(copies):
    net, x, target = example((1, 8, 8))
    noise = torch.Generator().manual_seed(4)
    size = 0.2 * (x.amax((1, 2, 3), keepdim=True) - x.amin((1, 2, 3), keepdim=True))  # of each picture's own range
    rest, each, gradients = copies, 64 // len(x), []
    while rest:
        now = min(each, rest)
        for draw in torch.randn(now, *x.shape, generator=noise):
            gradients.append(input_gradient(net, x + size * draw, target))
        rest -= now
    gradients = torch.stack(gradients)
    for moment, expected in {
        "mean": gradients.mean(0),
        "square": gradients.square().mean(0),
        "variance": gradients.var(0, unbiased=False),
    }.items():
        maps = smooth(4, copies=copies, noise=0.2, moment=moment).maps(net, x, target)
        torch.testing.assert_close(maps, expected, rtol=1e-4, atol=1e-7)


def test_smoothgrad_without_noise_is_the_gradient():
    net, x, target = example((3, 32, 32))
    torch.testing.assert_close(
        smooth(noise=0.0, copies=3).maps(net, x, target), configured(Saliency).maps(net, x, target)
    )


def largest(net, method, x, target):
    """The largest batch that goes through the last layer of the network, or of a copy, which has the hook, too."""
    seen = []
    hook = net[-1].register_forward_pre_hook(lambda module, inputs: seen.append(len(inputs[0])))
    method.maps(net, x, target)
    hook.remove()
    return max(seen)


def test_memory_does_not_grow_with_the_number_of_copies_or_places():
    net, x, target = example((1, 28, 28), 4)
    assert largest(net, smooth(copies=40), x, target) == largest(net, smooth(copies=200), x, target) == 64
    assert largest(net, configured(Occlusion, patch=2, stride=1), x, target) == 32


@pytest.mark.parametrize("shape", SHAPES)
def test_occlusion_is_captums_where_squares_do_not_overlap(shape):
    net, x, target = example(shape)
    maps = configured(Occlusion, patch=4, stride=4).maps(net, x, target)
    window = (shape[0], 4, 4)
    theirs = captum.attr.Occlusion(net).attribute(x, window, window, baselines=0.0, target=target)
    torch.testing.assert_close(maps.expand_as(x), theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("patch", "stride"), [(3, 2), (5, 2), (4, 1), (9, 3)])
def test_occlusion_by_hand(patch, stride):
    """A pixel has the mean drop over the squares that cover it, and some square covers it."""
    net, x, target = example((1, 8, 8), 2)
    total, count = torch.zeros(2, 8, 8), torch.zeros(8, 8)
    with torch.no_grad():
        before = net(x)[range(2), target]
        for square in squares(8, 8, patch, stride):
            drop = before - net(torch.where(square, torch.zeros(()), x))[range(2), target]
            total += drop[:, None, None] * square
            count += square
    assert count.min() >= 1
    torch.testing.assert_close(
        configured(Occlusion, patch=patch, stride=stride).maps(net, x, target)[:, 0], total / count
    )


def test_occlusion_of_superpixels_is_captums_ablation():
    net, x, target = example((3, 32, 32))
    x = nn.functional.interpolate(x[..., :4, :4], (32, 32))
    maps = configured(Occlusion, segments=9).maps(net, x, target)
    for number, labels in enumerate(slic(x, 9)):
        assert len(labels.unique()) > 2
        one = slice(number, number + 1)
        theirs = captum.attr.FeatureAblation(net).attribute(
            x[one], 0.0, target=target[one], feature_mask=labels[None, None]
        )
        torch.testing.assert_close(maps[one].expand_as(theirs), theirs, rtol=1e-5, atol=1e-5)


def test_edges_are_sobels():
    from skimage.filters import sobel_h, sobel_v

    x = torch.rand(2, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    for found, picture in zip(edges(nn.Identity(), x, torch.zeros(2)), x[:, 0].double().numpy(), strict=True):
        expected = (sobel_h(picture) ** 2 + sobel_v(picture) ** 2) ** 0.5
        scale = found[0, 1:-1, 1:-1].double().numpy() / expected[1:-1, 1:-1]
        assert scale.std() < 1e-4 * scale.mean()


def test_pictures_of_the_user_are_read_as_those_of_a_folder(tmp_path):
    values = np.arange(256, dtype=np.uint16).reshape(16, 16) * 256
    exif = Image.Exif()
    exif[274] = 3  # upside down
    Image.fromarray(values[::-1, ::-1].copy()).save(tmp_path / "a.png", exif=exif)
    (tmp_path / "._a.png").write_bytes(b"of a copy from another system")
    assert files(tmp_path) == [tmp_path / "a.png"]
    assert read_picture(tmp_path / "a.png", (1, 16, 16)).tolist() == [(values // 256).tolist()]
