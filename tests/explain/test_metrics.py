"""Every score against numpy, scipy, skimage, captum's metrics, or maps made by hand."""

from types import SimpleNamespace

import captum.metrics
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity
from torch import nn

from mlbench.data.modality import PICTURES
from mlbench.explain.attribution import evaluation
from mlbench.explain.attribution import metrics as scores
from mlbench.explain.attribution.controls import controls
from mlbench.explain.attribution.evaluation import evaluate
from mlbench.explain.attribution.examples import Examples, View
from mlbench.explain.attribution.picture_attribution import PictureView
from mlbench.explain.attribution.randomisation import cascade, layers, similarity
from mlbench.explain.attribution.saliency import Saliency
from mlbench.explain.base import input_gradient
from mlbench.models.cnn import CNN
from mlbench.models.mlp import Linear
from tests.techniques import Late, configured


def given(shape=(1, 8, 8), count=3):
    """(network, pictures, classes, maps)."""
    torch.manual_seed(0)
    net, x, target = CNN(shape, 10, [4, 6]).eval(), torch.randn(count, *shape), (torch.arange(count) + 2) % 10
    net[-1].weight.data *= 20
    return net, x, target, input_gradient(net, x, target)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 7)])
def test_curves_by_hand(shape):
    """Pixels change in order of strength, all channels at once, from none of them to all."""
    net, start, target, maps = given(shape)
    end, found = torch.randn_like(start), []
    pixels = shape[1] * shape[2]
    for b in range(len(start)):
        order = np.argsort(-maps[b].abs().sum(0).flatten().numpy(), kind="stable")
        points = []
        for step in range(scores.STEPS + 1):
            changed = start[b].flatten(1).clone()
            chosen = order[: round(step * pixels / scores.STEPS)]
            changed[:, chosen] = end[b].flatten(1)[:, chosen]
            points.append(net(changed.view(1, *shape)).softmax(1)[0, target[b]].item())
        found.append(points)
    curve = scores.perturbation_curve(net, start, end, maps, target)
    torch.testing.assert_close(curve, torch.tensor(found), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(scores.area(curve), np.trapezoid(found, dx=1 / scores.STEPS, axis=1), rtol=1e-4)
    torch.testing.assert_close(curve, scores.perturbation_curve(net, start, end, -maps, target))  # sizes count


def test_signed_curves_begin_with_what_speaks_for_the_class_and_end_with_what_speaks_against_it():
    net = Linear((2, 1, 4), 2)
    net[1].weight.data = torch.stack([torch.tensor([3.0, -9, 1, 0, 0, 1, 0, -2]), torch.zeros(8)])
    net[1].bias.data.zero_()
    x, target = torch.ones(1, 2, 1, 4), torch.tensor([0])
    maps = net[1].weight[:1].detach().view(1, 2, 1, 4)  # sums over the channels: 3, -8, 1, -2; sizes: 3, 10, 1, 2
    for signed, order in ((True, [0, 2, 3, 1]), (False, [1, 0, 3, 2])):
        left, expected = torch.tensor([3.0, -8, 1, -2]), []
        for removed in range(5):
            expected.append(left[order[removed:]].sum().sigmoid().item())
        found = scores.perturbation_curve(net, x, 0 * x, maps, target, signed)[0]
        assert found[::5].tolist() == pytest.approx(expected, abs=1e-6)


def test_the_scores_by_size_and_by_sign_stand_beside_one_another():
    net, x, target, maps = given()
    view = View()
    view.thorough = False
    view.examples = [Examples(net, x, target, target, None, None, list("0123456789"))]
    found, rows = evaluation.score_maps(view, [maps], input_gradient, torch.Generator(), "share")
    for name, start, end in (("deletion", x, 0 * x), ("insertion", scores.blurred(x), x)):
        for mark, signed in (("", False), ("_signed", True)):
            curve = scores.perturbation_curve(net, start, end, maps, target, signed)
            assert found[f"{name}_auc{mark}"] == pytest.approx(scores.area(curve).mean().item())
            assert [row[name + mark] for row in rows] == pytest.approx(curve.mean(0).tolist())
    assert found["deletion_auc"] != found["deletion_auc_signed"]


def test_deleting_what_decides_costs_most():
    net = Linear((1, 4, 4), 2)
    net[1].weight.data = torch.stack([torch.arange(16.0), torch.zeros(16)])
    net[1].bias.data.zero_()
    x, target = torch.ones(1, 1, 4, 4), torch.tensor([0])
    best, worst = (net[1].weight[:1].detach().view(1, 1, 4, 4), 15 - net[1].weight[:1].detach().view(1, 1, 4, 4))
    areas = [scores.area(scores.perturbation_curve(net, x, 0 * x, m, target)).item() for m in (best, worst)]
    assert areas[0] < areas[1]


@pytest.mark.parametrize(
    ("sides", "reach"), [((8, 8), 5), ((32, 32), 5), ((40, 60), 5), ((80, 90), 10), ((224, 224), 28)]
)
def test_blur_is_gaussian_and_in_proportion_to_large_pictures(sides, reach):
    x = torch.randn(1, 2, *sides)
    own = scores.blurred(x)
    for picture, other in zip(x.flatten(0, 1).numpy(), own.flatten(0, 1).numpy(), strict=True):
        expected = gaussian_filter(picture, reach / 3, mode="nearest", radius=reach)
        np.testing.assert_allclose(other, expected, atol=1e-5)


def test_blur_leaves_as_little_of_a_large_picture_as_of_the_same_in_small():
    small = torch.randn(1, 1, 32, 32)
    large = nn.functional.interpolate(small, (224, 224), mode="bicubic")
    assert max((scores.blurred(x).var() / x.var()).item() for x in (small, large)) < 0.1


def test_pointing_and_share_of_hand_made_maps():
    truth = torch.zeros(3, 8, 8, dtype=torch.bool)
    truth[:, 2:5, 3:6] = True  # 9 pixels
    maps = torch.zeros(3, 2, 8, 8)
    maps[0, 0, 3, 4] = -5  # the strongest, though negative
    maps[0, 1, 0, 0] = 4
    maps[1, :, 0, 0] = 3  # both channels together are the strongest
    maps[1, 0, 3, 4] = 5
    maps[2] = truth[2].float() * torch.rand(8, 8).add(0.1)
    assert scores.pointing(maps, truth).tolist() == [True, False, True]
    maps[1] = (~truth[1]).float()
    maps[0] = 0
    maps[0, 0, 2, 3:6] = 1  # 3 of the 9 strongest inside
    maps[0, 0, 7, :6] = 1
    assert scores.top_share(maps, truth).tolist() == pytest.approx([3 / 9, 0, 1])


def test_share_of_the_25_strongest_of_a_large_truth():
    truth = torch.zeros(1, 16, 16, dtype=torch.bool)
    truth[:, :8, :8] = True  # 64 pixels
    maps = torch.zeros(1, 1, 16, 16)
    maps[0, 0, :2, :5] = 2  # 10 inside
    maps[0, 0, 10:13, :5] = 1  # 15 outside
    assert scores.top_share(maps, truth).item() == pytest.approx(10 / 25)


def gini(values):
    """Half the mean difference of all pairs, as a share of the mean."""
    return np.abs(values[:, None] - values).mean() / (2 * values.mean())


def test_sparsity_is_ginis():
    maps = torch.randn(3, 2, 8, 8)
    expected = [gini(each) for each in maps.abs().sum(1).flatten(1).double().numpy()]
    np.testing.assert_allclose(scores.sparsity(maps), expected, rtol=1e-6)
    one = torch.zeros(1, 1, 8, 8)
    one[0, 0, 3, 3] = 1
    assert scores.sparsity(one).item() == pytest.approx(63 / 64)
    assert scores.sparsity(torch.ones(1, 1, 8, 8)).item() == pytest.approx(0, abs=1e-9)


def test_infidelity_is_captums_with_the_scale_of_the_other_half_of_the_noise():
    net, x, target, maps = given()
    count, draw = scores.PERTURBATIONS // 2, torch.Generator().manual_seed(5)
    size = scores.NOISE * (x.amax((1, 2, 3), keepdim=True) - x.amin((1, 2, 3), keepdim=True))
    noise = torch.stack([size * torch.randn(x.shape, generator=draw) for _ in range(2 * count)], 1)
    repeated, expected, changes = x.repeat_interleave(count, 0), 0, 0
    with torch.no_grad():
        effects = []
        for half in noise.chunk(2, 1):
            own = net(repeated) - net(repeated - half.flatten(0, 1))
            effects.append(own.gather(1, target.repeat_interleave(count)[:, None]).view(len(x), count).numpy())
    for fitted, measured in ((0, 1), (1, 0)):
        known = (noise.chunk(2, 1)[fitted] * maps[:, None]).flatten(2).sum(2).numpy()
        scale = [np.linalg.lstsq(a[:, None], b, rcond=None)[0][0] for a, b in zip(known, effects[fitted], strict=True)]
        other = noise.chunk(2, 1)[measured].flatten(0, 1)
        theirs = captum.metrics.infidelity(
            net,
            lambda inputs, other=other: (other, inputs - other),
            x,
            torch.tensor(scale, dtype=torch.float32)[:, None, None, None] * maps,
            target=target,
            n_perturb_samples=count,
        )
        expected, changes = expected + theirs.detach().numpy() * count, changes + (effects[measured] ** 2).sum(1)
    own = scores.infidelity(net, x, maps, target, torch.Generator().manual_seed(5))
    np.testing.assert_allclose(own, expected / changes, rtol=1e-3)


def test_infidelity_of_noise_is_no_better_than_that_of_nothing_on_average():
    net, x, target, maps = given(count=64)
    of_noise = scores.infidelity(net, x, torch.randn_like(x), target, torch.Generator().manual_seed(0))
    of_gradient = scores.infidelity(net, x, maps, target, torch.Generator().manual_seed(0))
    assert of_noise.mean() >= 1
    assert of_gradient.mean() < 0.5


def test_infidelity_by_hand():
    net = Linear((1, 8, 8), 3)
    x, target = torch.randn(2, 1, 8, 8), torch.tensor([0, 2])
    weights = net[1].weight.detach()[target].view_as(x)
    for maps, expected in ((weights, 0), (-7 * weights, 0), (torch.zeros_like(x), 1)):
        found = scores.infidelity(net, x, maps, target, torch.Generator().manual_seed(0))
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_sensitivity_is_captums():
    net, x, target, maps = given()
    count, draw = scores.NEIGHBOURS, torch.Generator().manual_seed(5)
    radius = scores.RADIUS * (x.amax((1, 2, 3), keepdim=True) - x.amin((1, 2, 3), keepdim=True))
    steps = [radius * (2 * torch.rand(x.shape, generator=draw) - 1) for _ in range(count)]
    near = (x[:, None] + torch.stack(steps, 1)).flatten(0, 1)
    theirs = captum.metrics.sensitivity_max(
        lambda inputs, target: (input_gradient(net, inputs[0], target),),
        x,
        perturb_func=lambda inputs, perturb_radius: (near,),
        n_perturb_samples=count,
        target=target,
    )
    own = scores.sensitivity(net, x, maps, target, input_gradient, torch.Generator().manual_seed(5))
    np.testing.assert_allclose(own, theirs, rtol=1e-4)


def test_completeness_by_hand():
    net, x, target, _ = given()
    with torch.no_grad():
        gains = (net(x) - net(0 * x)).gather(1, target[:, None])
    maps = torch.zeros_like(x)
    maps[:, 0, 0, 0] = gains[:, 0]
    assert scores.completeness_error(net, x, 0 * x, maps, target) == pytest.approx(0, abs=1e-6)
    assert scores.completeness_error(net, x, 0 * x, 1.25 * maps, target) == pytest.approx(0.25, abs=1e-5)
    near = 0.9999 * x  # hardly any gain: the error is a share of it all the same
    with torch.no_grad():
        maps[:, 0, 0, 0] = 2 * (net(x) - net(near)).gather(1, target[:, None])[:, 0]
    assert scores.completeness_error(net, x, near, maps, target) == pytest.approx(1, abs=0.01)


def test_alike_is_scipys_and_skimages():
    one, other = torch.randn(3, 2, 9, 9), torch.randn(3, 2, 9, 9)
    other[0] = one[0] * 3
    other[1] = -one[1]
    a, b = (maps.double().sum(1).numpy() for maps in (one, other))
    found = similarity(one, other)
    rho = [spearmanr(p.ravel(), q.ravel()).statistic for p, q in zip(a, b, strict=True)]
    assert rho[:2] == pytest.approx([1, -1])
    assert found["rho"] == pytest.approx(np.mean(rho))
    sizes = [spearmanr(abs(p).ravel(), abs(q).ravel()).statistic for p, q in zip(a, b, strict=True)]
    assert found["abs_rho"] == pytest.approx(np.mean(sizes))
    largest = [(abs(p) / abs(p).max(), abs(q) / abs(q).max()) for p, q in zip(a, b, strict=True)]
    ssim = [structural_similarity(p, q, data_range=1.0, win_size=7) for p, q in largest]
    assert found["ssim"] == pytest.approx(np.mean(ssim))


@pytest.mark.parametrize(("sides", "window"), [((5, 5), 5), ((6, 9), 5), ((4, 4), 3)])
def test_small_maps_are_compared_in_windows_that_fit(sides, window):
    one, other = torch.randn(1, 1, *sides), torch.randn(1, 1, *sides)
    a, b = (abs(m[0, 0].double().numpy()) for m in (one, other))
    expected = structural_similarity(a / a.max(), b / b.max(), data_range=1.0, win_size=window)
    assert similarity(one, other)["ssim"] == pytest.approx(expected)


def test_maps_without_structure_have_no_rank():
    flat = torch.ones(2, 1, 8, 8)
    assert "rho" not in similarity(flat, torch.randn(2, 1, 8, 8))
    half = torch.stack([flat[0], torch.randn(1, 8, 8)])
    assert similarity(half, half)["rho"] == pytest.approx(1)  # of the one that has some


def test_layers_are_drawn_anew_from_the_top_down_in_a_copy():
    net, x, target, _ = given()
    before, seen = {name: tensor.clone() for name, tensor in net.state_dict().items()}, []

    def watching(other, x, target):
        same = [torch.equal(other.get_submodule(path).weight, net.get_submodule(path).weight) for path in layers(net)]
        seen.append(same)
        return input_gradient(other, x, target)

    torch.manual_seed(1)
    drawn = torch.rand(1)
    torch.manual_seed(1)
    rows = cascade(net, x, target, watching, 0)
    assert torch.equal(torch.rand(1), drawn)
    count = len(layers(net))
    assert [row["layers"] for row in rows] == list(range(1, count + 1))
    assert [row["layer"] for row in rows] == layers(net)[::-1]
    weights = [isinstance(net.get_submodule(path), nn.Conv2d | nn.Linear) for path in layers(net)]
    for number, same in enumerate(seen):  # batch norms are reset to ones, which they were
        assert [s for s, w in zip(same, weights, strict=True) if w] == [
            place < count - number for place, w in enumerate(weights) if w
        ]
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    again = cascade(net, x, target, input_gradient, 0)
    assert again == rows
    few = cascade(net, x, target, input_gradient, 0, steps=3)
    assert few == [rows[0], rows[round((count - 1) / 2)], rows[-1]]  # the top layer, half of the rest, all


def test_a_map_that_ignores_the_network_stays_the_same():
    net, x, target, _ = given()
    assert all(row["rho"] == pytest.approx(1) for row in cascade(net, x, target, lambda net, x, target: x, 0))


def test_a_map_whose_sizes_stay_fails_the_check_whatever_its_signs_do():
    net, x, target, _ = given()
    examples = Examples(net, x, target, target, None, None, list("0123456789"))

    def turning(other, x, target):
        signs = torch.ones_like(x)
        if not torch.equal(other[-1].weight, net[-1].weight):
            signs[..., ::2] = -1
        return x * signs

    for maker, passed in ((turning, 0.0), (lambda *_: torch.randn_like(x), 1.0), (lambda *_: x, 0.0)):
        depth = evaluation.randomisation(examples, maker, torch.Generator())
        found = evaluation.checks(None, examples, x, depth)
        assert found["randomisation_passed"] == passed
    depth = evaluation.randomisation(examples, turning, torch.Generator())
    found = evaluation.checks(None, examples, x, depth)
    assert abs(found["randomisation_rho"]) < 0.5
    assert found["randomisation_abs_rho"] == pytest.approx(1)


def test_the_time_of_a_map_is_the_devices_own(monkeypatch):
    late, method = Late(), configured(Saliency)
    monkeypatch.setattr(evaluation, "time", late)
    monkeypatch.setattr(method, "maps", late.slowly(method.maps))
    net, x, target, _ = given()
    batch = SimpleNamespace(x=x, y=target)
    context = SimpleNamespace(
        chosen=lambda method: None,
        test=SimpleNamespace(batch=lambda index: batch),
        planted=None,
        task=SimpleNamespace(files=None, labelled=True, crop=1.0),
        picture=lambda x: np.zeros(x.shape, np.uint8),
        classes=[str(k) for k in range(10)],
    )
    view = PictureView(net, method, context)
    late.owed = 7.0  # of what came before
    metrics = evaluate(method, view, PICTURES, "saliency", torch.Generator().manual_seed(0), late).metrics
    seconds = [metrics[f"{control}seconds_per_image"] for control in ("", "control_random_", "control_wrong_class_")]
    assert seconds == [1, 0, 1]


def test_the_wrong_class_is_never_the_right_one():
    target = torch.arange(5)
    for seed in range(20):
        made = controls(lambda net, x, target: target, View(), 5, torch.Generator().manual_seed(seed))
        wrong = made["wrong_class"](None, None, target)
        assert (wrong != target).all()
        assert ((wrong >= 0) & (wrong < 5)).all()


def test_a_map_of_zeros_has_neither_sparsity_nor_sensitivity():
    net, x, target, _ = given()
    nothing = torch.zeros_like(x)
    assert scores.sparsity(nothing).isnan().all()
    assert scores.sensitivity(net, x, nothing, target, input_gradient, torch.Generator()).isnan().all()
