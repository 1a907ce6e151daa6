"""Gradient ascent on the input: known optima, known transforms, naturalness measured, and the network untouched."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from mlbench.core.errors import SettingError, UserError
from mlbench.core.renamed import published
from mlbench.data.stream import Task
from mlbench.explain.base import untouched
from mlbench.explain.feature_visualisation import image_parametrisation as canvases
from mlbench.explain.feature_visualisation.filters import Filters
from mlbench.explain.feature_visualisation.image_parametrisation import Frame, moved, strength_of_waves, waves_to_pixels
from mlbench.explain.feature_visualisation.maximise import Maximise, excitation
from mlbench.explain.feature_visualisation.naturalness import nearest, total_variation
from mlbench.explain.feature_visualisation.units import quick, spread, units_of
from mlbench.models.cnn import CNN
from mlbench.models.resnet import ResNet18
from tests.compress.test_unstructured_pruning import Bench
from tests.conftest import random_split
from tests.experiment.test_runs import only_run, summary
from tests.explain.test_runner import SMALL, table
from tests.techniques import configured

FREE = {"l2": 0.0, "total_variation": 0.0, "jitter": 0, "scale": 0.0, "rotation": 0.0}


class Studio(Bench):
    """A workbench for explanations, without files."""

    def __init__(self, net, shape=(1, 4, 4), classes=3):
        super().__init__(net)
        self.train, self.test = (random_split(64, shape=shape, classes=classes, seed=seed) for seed in (1, 2))
        self.whole, self.input_shape, self.outputs = self.train, shape, classes
        self.task = Task("pictures", self.train, self.test)
        self.classes = [f"class {number}" for number in range(classes)]
        normalise = self.train.normalise
        self.black, self.kept, self.makings = -normalise.mean / normalise.std, {}, 0

    def fit(self, *given, **changes):
        torch.manual_seed(0)  # as the runner does before each fit
        return super().fit(*given, **changes)

    def stored(self, title, made_by, make):
        key = (title, *made_by.items())
        if key not in self.kept:
            self.makings += 1
            self.kept[key] = make()
        return self.kept[key]


def linear(shape=(1, 4, 4), classes=3):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), classes)).eval()


def test_a_linear_network_with_l2_is_maximised_by_its_scaled_weights():
    # argmax of w.x / s - l2 * |x - b|^2 is b + w / (2 * l2 * s), s the logits' deviation
    net = linear()
    context = Studio(net)
    method = configured(Maximise, steps=800, lr=0.05, **{**FREE, "l2": 0.5})
    x = method.synthesise(context, net, torch.arange(3), "")
    raw = context.train.batch(torch.arange(64)).x
    deviation = net(raw).detach().numpy().std(0, ddof=1)
    weights = net[1].weight.detach().numpy()
    middle = np.sort(raw.numpy(), axis=None)[(raw.numel() - 1) // 2]  # torch's median is the lower one
    expected = middle + weights / (2 * 0.5) / deviation[:, None]
    assert abs(expected).max() < 1.5  # between black and white, so that nothing is cut off
    np.testing.assert_allclose(x.flatten(1).numpy(), expected, atol=2e-3)


def test_pixels_without_regularisers_end_black_where_the_weight_is_negative_and_white_where_positive():
    net = linear()
    context = Studio(net)
    x = configured(Maximise, steps=400, **FREE).synthesise(context, net, torch.arange(3), "")
    unit = Frame.of(context).unit(x).flatten(1)
    torch.testing.assert_close(unit, (net[1].weight > 0).float(), atol=1e-5, rtol=0)


def test_total_variation_and_the_nearest_picture_agree_with_numpy():
    real = random_split(50, shape=(3, 5, 4), seed=3)
    torch.manual_seed(0)
    pictures = torch.rand(6, 3, 5, 4)
    pictures[2] = real.raw(torch.tensor([7]))[0] / 255
    others = real.pool.examples.numpy() / 255
    found, which = nearest(pictures, real)
    for number, picture in enumerate(pictures.double().numpy()):
        steps = [abs(picture[:, i + 1, j] - picture[:, i, j]) for i in range(4) for j in range(4)]
        steps += [abs(picture[:, i, j + 1] - picture[:, i, j]) for i in range(5) for j in range(3)]
        assert total_variation(pictures)[number] == pytest.approx(np.mean(steps), rel=1e-5)
        distances = [np.sqrt(((picture - other) ** 2).sum()) for other in others]
        assert which[number] == np.argmin(distances)
        assert found[number] == pytest.approx(min(distances), rel=1e-5, abs=1e-6)
    assert found[2] == 0


def test_the_search_for_the_nearest_does_not_depend_on_how_it_is_cut(monkeypatch):
    real, pictures = random_split(50, seed=3), torch.rand(6, 1, 4, 4)
    whole = nearest(pictures, real)
    monkeypatch.setattr("mlbench.explain.feature_visualisation.naturalness.AT_ONCE", 7)
    for one, other in zip(whole, nearest(pictures, real), strict=True):
        assert torch.equal(one, other)


def test_total_variation_of_noise_stripes_and_a_plain_picture():
    board = torch.arange(36).view(1, 1, 6, 6) % 2
    assert total_variation(torch.full((1, 1, 6, 6), 0.3)).item() == 0
    assert total_variation(board.float()).item() == 0.5  # stripes: every pair across, none down
    assert total_variation(torch.randint(0, 2, (1, 1, 200, 200)).float()).item() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("sides", [(6, 6), (5, 7), (8, 5)])
def test_waves_become_the_pictures_whose_transform_they_are(sides):
    pictures = np.random.default_rng(0).normal(size=(2, 3, *sides))
    waves = np.fft.rfft2(pictures, norm="ortho") / strength_of_waves(sides).numpy()
    value = torch.from_numpy(np.stack([waves.real, waves.imag], -1))
    np.testing.assert_allclose(waves_to_pixels(value, sides).numpy(), pictures, atol=1e-5)


def test_slow_waves_are_stronger():
    down, across = np.fft.fftfreq(6)[:, None], np.fft.rfftfreq(6)[None]
    expected = 1 / np.maximum(np.hypot(down, across), 1 / 6)
    np.testing.assert_allclose(strength_of_waves((6, 6)).numpy(), expected, rtol=1e-6)


def test_how_excited_a_class_is_and_how_probable():
    net, x, wanted = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), torch.randn(3, 1, 2, 2), torch.tensor([2, 0, 1])
    found = excitation(net, x, wanted, classes=True)
    logits = net(x).detach()
    torch.testing.assert_close(found["activation"], logits[range(3), wanted])
    torch.testing.assert_close(found["probability"], logits.exp()[range(3), wanted] / logits.exp().sum(1))
    assert "probability" not in excitation(net, x, wanted, classes=False)


def still(x):
    return {"shift": torch.zeros(len(x), 2), "size": torch.ones(len(x)), "angle": torch.zeros(len(x))}


@pytest.mark.parametrize("sides", [(6, 6), (5, 8)])
def test_moves_that_are_none_and_pure_translations(sides):
    x = torch.randn(3, 2, *sides)
    torch.testing.assert_close(moved(x, **still(x)), x, atol=1e-5, rtol=0)
    shift = torch.tensor([[2, -1], [0, 3], [-1, 0]])
    found = moved(x, **{**still(x), "shift": shift.float()}).numpy()
    for picture, after, (down, right) in zip(x.numpy(), found, shift.tolist(), strict=True):
        rows = np.clip(np.arange(sides[0]) - down, 0, sides[0] - 1)  # the edge is repeated
        columns = np.clip(np.arange(sides[1]) - right, 0, sides[1] - 1)
        np.testing.assert_allclose(after, picture[:, rows][:, :, columns], atol=1e-5)


def test_a_quarter_turn_and_a_magnification():
    x = torch.randn(1, 1, 6, 6)
    quarter = moved(x, **{**still(x), "angle": torch.full((1,), math.pi / 2)})
    assert any(torch.allclose(quarter, torch.rot90(x, k, (2, 3)), atol=1e-5) for k in (1, 3))
    dot = torch.zeros(1, 1, 8, 8)
    dot[:, :, 2:6, 2:6] = 1.0
    assert moved(dot, **{**still(dot), "size": torch.full((1,), 2.0)}).min() > 0.5  # the square fills the picture


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 11)])
@pytest.mark.parametrize("settings", [{}, {"parametrisation": "fourier"}, {"blur": 1}])
def test_pictures_lie_between_black_and_white_and_excite_more(shape, settings):
    torch.manual_seed(0)
    net = CNN(shape, 3, [4, 6]).eval()
    context = Studio(net, shape)
    method = configured(Maximise, steps=60, jitter=1, **settings)
    x = method.synthesise(context, net, torch.tensor([0, 1, 2, 2]), "")
    assert x.shape == (4, *shape)
    unit = Frame.of(context).unit(x)
    assert -1e-5 <= unit.min() <= unit.max() <= 1 + 1e-5
    assert not torch.equal(x[2], x[3])  # another beginning
    with torch.no_grad():
        reached, real = net(x), net(context.test.batch(torch.arange(64)).x)
        assert (reached[torch.arange(3), torch.arange(3)] > real.mean(0)).all()


def test_the_beginning_of_both_parametrisations_is_near_the_median_pixel():
    context = Studio(linear())
    frame = Frame.of(context)
    for make in canvases.PARAMETRISATIONS.values():
        start = make(frame, 50, torch.Generator().manual_seed(0))().detach()
        assert (start.mean(0) - frame.background).abs().max() < 0.2


@pytest.mark.parametrize("place", ["mean", "centre"])
def test_units_of_a_layer_are_those_that_its_output_holds(place):
    torch.manual_seed(0)
    net = ResNet18((3, 8, 8), 5, width=4).eval()
    x = torch.randn(3, 3, 8, 8)
    maps = nn.Sequential(*list(net)[:4])(x).detach()
    with units_of(net, "3", place) as units, torch.no_grad():
        expected = {"mean": maps.flatten(2).mean(2), "centre": maps[:, :, 4, 4]}[place]
        torch.testing.assert_close(units(x), expected)
    assert not net[3]._forward_hooks
    with units_of(net, None, place) as units:
        assert units is net


def test_a_relu_that_overwrites_does_not_change_what_is_read():
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(inplace=True)).eval()
    x = torch.randn(8, 1, 2, 2)
    with units_of(net, "1", "mean") as units:
        torch.testing.assert_close(units(x), net[1](x.flatten(1)))
        units(x.requires_grad_()).sum().backward()


def test_the_network_stays_in_eval_mode_and_keeps_everything(monkeypatch):
    # the trap: batch norm in train mode makes nonsense and moves its statistics; fit sets its network to train mode
    torch.manual_seed(0)
    net = CNN((1, 8, 8), 3, [4, 6])
    net.train()
    net(torch.randn(16, 1, 8, 8)).sum().backward()
    gradients = [(p.grad, p.grad.clone()) for p in net.parameters()]
    before, modes = {name: tensor.clone() for name, tensor in net.state_dict().items()}, []
    net[1].register_forward_hook(lambda module, *_: modes.append(module.training))
    with untouched(net):
        configured(Maximise, steps=5, layer="4", limit=2).explain(net, Studio(net, (1, 8, 8)))
    assert modes
    assert not any(modes)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    for parameter, (gradient, values) in zip(net.parameters(), gradients, strict=True):
        assert parameter.grad is gradient
        assert torch.equal(gradient, values)
        assert parameter.requires_grad


def test_real_pictures_are_of_the_classes_and_not_twice_the_same():
    context = Studio(linear())
    wanted = torch.tensor([0, 1, 2, 0, 1, 2])
    x = configured(Maximise).real(context, wanted)
    everything = context.test.batch(torch.arange(64)).x
    found = [(everything == one).flatten(1).all(1).nonzero().item() for one in x]
    assert torch.equal(context.test.labels[found], wanted)
    assert len(set(found)) == 6


def test_what_a_run_leaves_and_that_raw_pixels_are_noise(mlbench, tmp_path):
    # the trap: without regularisers gradient ascent makes noise, of which the network is sure
    code, _, error = mlbench("explain=maximise", "explain.steps=150", "explain.jitter=1", *SMALL, "train.epochs=5")
    assert code == 0, error
    folder = only_run(tmp_path / "out")
    metrics = summary(folder)["metrics"]
    rows = {row["pictures"]: row for row in table(folder / "naturalness.csv")}
    assert list(rows) == ["real", "raw", "regularised"]
    for name, row in rows.items():
        assert int(row["count"]) == 20
        for column in ("total_variation", "nearest_distance", "activation", "probability"):
            assert float(row[column]) == metrics[f"{name}_{column}"]
        share = metrics[f"{name}_total_variation"] / metrics["real_total_variation"]
        assert float(row["of_real_variation"]) == pytest.approx(share)
    assert metrics["raw_total_variation"] > 1.25 * metrics["real_total_variation"]
    assert metrics["raw_total_variation"] > 1.25 * metrics["regularised_total_variation"]
    assert metrics["raw_nearest_distance"] > 2 * metrics["real_nearest_distance"]
    assert metrics["raw_activation"] > max(metrics["real_activation"], metrics["regularised_activation"])
    with np.load(folder / "artefacts" / "maximised.npz", allow_pickle=False) as file:
        assert file["raw"].shape == file["regularised_nearest"].shape == (20, 1, 8, 8)
        assert file["units"].tolist() == list(range(10)) * 2
    assert {path.stem for path in (folder / "figures").glob("*.png")} == {"maximised"}


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["explain.layer=13"], ["layer=13", "no such layer", "there are: 0, 1, 2"]),
        (["explain.unit=10"], ["unit=10", "0 to 9"]),
        (["explain.layer=4", "explain.unit=6"], ["unit=6", "0 to 5"]),
        (["explain.parametrisation=fouri"], ["did you mean 'fourier'"]),
        (["explain.scale=1"], ["scale", "below 1"]),
        (["explain.steps=0"], ["steps", "1 or more"]),
        (["explain.unit=sevem"], ["unit=sevem", "the name of a class"]),
        (["explain.layer=4", "explain.unit=seven"], ["unit=seven", "only classes have names"]),
    ],
)
def test_mistakes_get_short_answers(mlbench, tmp_path, words, parts):
    code, _, error = mlbench("explain=maximise", *SMALL, *words)
    assert code == 2, error
    assert len(error.strip().splitlines()) <= 2
    assert all(part in error for part in parts)
    assert not list((tmp_path / "out").glob("explain/*/*"))


def test_a_unit_that_only_running_the_layer_tells_is_refused():
    net = CNN((1, 8, 8), 3, [4, 6]).eval()
    configured(Maximise, layer="2", unit=5).check(net)  # a ReLU does not say how many outputs it has
    with pytest.raises(UserError, match="0 to 3"):
        configured(Maximise, layer="2", unit=5).explain(net, Studio(net, (1, 8, 8)))
    with pytest.raises(SettingError, match="0 to 3"):
        configured(Maximise, layer="0", unit=5).check(net)


def test_a_class_is_found_by_its_name():
    names = ["cat", "Cat", "sea lion"]
    for unit, number in (("Cat", 1), ("cat", 0), ("Sea Lion", 2), (1, 1), (None, None)):
        assert configured(Maximise, unit=unit).number(names) == number
    for unit, told in (("CAT", r"\[0, 1\] have this name"), ("sea lino", "did you mean 'sea lion'")):
        with pytest.raises(SettingError, match=told):
            configured(Maximise, unit=unit).number(names)


def test_null_is_what_suits_the_size_and_the_hash_of_a_default_stays():
    search = configured(Maximise, limit=3)
    small, large = (search.at_size((3, side, side)) for side in (64, 224))
    assert (small.parametrisation, small.steps, small.jitter, small.copies, small.limit) == ("pixels", 256, 2, 2, 3)
    assert (large.parametrisation, large.steps, large.jitter, large.copies, large.limit) == ("fourier", 128, 16, 1, 3)
    before = {"explain": {"copies": 2, "parametrisation": "pixels", "lr": 0.05}}
    assert published({"explain": {"copies": None, "parametrisation": None, "lr": 0.05}}) == before
    assert published(before) != before  # of large pictures it is another search
    assert published({"explain": {"copies": 3}}) == {"explain": {"copies": 3}}


def test_photographs_without_labels_name_the_units_and_are_shown_where_they_excite_them():
    torch.manual_seed(0)
    net, shape = CNN((3, 72, 80), 5, [4, 6]).eval(), (3, 72, 80)
    context = Studio(net, shape, classes=5)
    few = context.train.take(torch.arange(6))
    context.train = context.test = context.whole = few
    context.task = Task("photographs", few, few, labelled=False)
    x = few.batch(torch.arange(6)).x
    with torch.no_grad():
        logits, maps = net(x), nn.Sequential(*list(net)[:5])(x)
    results = configured(Maximise, steps=2).explain(net, context)
    wanted = list(dict.fromkeys(logits.argmax(1).tolist()))[:4]
    rows = results.tables["pictures"]
    assert [row["unit"] for row in rows if row["pictures"] == "real"] == wanted
    best = [logits[:, unit].max().item() for unit in wanted]
    assert [row["activation"] for row in rows if row["pictures"] == "real"] == pytest.approx(best, rel=1e-4)
    assert [title[:5] for title, _ in results.grids["maximised"]] == ["real ", "raw p", "fouri"]
    results = configured(Filters, layer="4", unit=3, steps=2).explain(net, context)
    ((_, (_, first, *rest)),) = results.grids["filters"]
    strongest = maps[:, 3].mean((1, 2)).argmax()
    place = maps[strongest, 3].argmax().item()
    row, column = (
        (place // maps.shape[3] + 0.5) * 72 / maps.shape[2],
        (place % maps.shape[3] + 0.5) * 80 / maps.shape[3],
    )
    top, left = (int(min(max(int(p) - side // 2, 0), side)) for p, side in ((row, 36), (column, 40)))
    np.testing.assert_array_equal(
        first.picture, few.raw(strongest[None])[0, :, top : top + 36, left : left + 40].numpy()
    )
    assert len(rest) == 5


def test_one_photograph_varies_by_nothing():
    context = Studio(linear())
    context.train = context.train.take(torch.arange(1))
    assert torch.equal(spread(context, linear()), torch.ones(3))


def test_a_faster_copy_for_large_pictures_keeps_the_layer_that_is_looked_into():
    torch.manual_seed(0)
    net = ResNet18((3, 72, 72), 5, width=4).train()
    net(2 * torch.randn(8, 3, 72, 72) + 1)  # statistics that folding would show
    net.eval()
    context = Studio(net, (3, 72, 72), classes=5)
    copy, x = quick(net, context, "0"), context.train.batch(torch.arange(3)).x
    assert isinstance(net[0], nn.Conv2d)
    assert copy is not net
    for each in (net, copy):
        with units_of(each, "0", "mean") as units, torch.no_grad():
            torch.testing.assert_close(units(x), net[0](x).mean((2, 3)), rtol=1e-4, atol=1e-4)
