"""The generator: shapes, trained once and alike by seed, and the search over its codes."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from torch import nn

from mlbench.core.errors import RunError
from mlbench.data.normalisation import Normalise
from mlbench.data.split import Pool, Split
from mlbench.explain.feature_visualisation import gan_prior
from mlbench.explain.feature_visualisation.gan_prior import Generator, generator, latent, make_discriminator, trained
from mlbench.explain.feature_visualisation.image_parametrisation import Frame
from mlbench.explain.feature_visualisation.maximise import Maximise
from mlbench.explain.feature_visualisation.synthesis import shell
from mlbench.models.cnn import CNN
from tests.conftest import random_split
from tests.experiment.test_runs import folders, summary
from tests.explain.test_maximise import Studio
from tests.explain.test_runner import SMALL, table
from tests.techniques import configured


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 9, 11)])
def test_pictures_have_the_shape_of_the_data_and_lie_between_black_and_white(shape):
    torch.manual_seed(0)
    pictures = Generator(shape, 5, 4)(torch.randn(6, 5))
    assert pictures.shape == (6, *shape)
    assert 0 <= pictures.min() <= pictures.max() <= 1
    assert make_discriminator(shape, 4)(pictures).shape == (6, 1)


def test_the_discriminator_is_at_most_as_steep_as_its_norm_says():
    # each layer's spectral norm is 1 after enough power iterations; checked by the singular values of the matrix
    torch.manual_seed(0)
    discriminator = make_discriminator((1, 8, 8), 4)
    for _ in range(100):
        discriminator(torch.rand(2, 1, 8, 8))
    norm = torch.linalg.svdvals(discriminator[1].weight.detach()).max().item()
    assert norm == pytest.approx(1, abs=1e-3)


def squares(count=256):
    """Pictures of one white square on black at one of four places: what a generator can be checked against."""
    pictures = torch.zeros(count, 1, 8, 8, dtype=torch.uint8)
    for number in range(count):
        row, column = 4 * (number % 2), 4 * (number // 2 % 2)
        pictures[number, :, row : row + 4, column : column + 4] = 255
    return Split(Pool(pictures), torch.arange(count), torch.arange(count) % 4, 0, Normalise.fitted(pictures))


def test_it_learns_to_make_pictures_like_those_it_saw():
    split = squares()
    kept = trained(split, (1, 8, 8), 300, 8, 16, seed=0)
    made_by = Generator((1, 8, 8), 8, 16)
    made_by.load_state_dict(kept["weights"])
    with torch.no_grad():
        made = made_by.eval()(torch.randn(64, 8, generator=torch.Generator().manual_seed(0)))
    real = split.pool.examples[:4].flatten(1).float() / 255
    distances = torch.cdist(made.flatten(1), real)
    assert distances.min(1).values.mean() < 2.5  # the best picture of one grey is at 3.46, the untrained generator at 4
    assert len(distances.argmin(1).unique()) >= 3  # not always the same one
    assert kept["losses"].isfinite().all()
    assert kept["losses"].abs().max() < 10


def test_the_same_seed_makes_the_same_weights_and_leaves_other_random_numbers_alone():
    split = random_split(64, shape=(1, 8, 8))
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, again, other = (trained(split, (1, 8, 8), 4, 3, 4, seed=seed)["weights"] for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["first.weight"], other["first.weight"])


def test_the_weights_are_the_average_over_the_steps(monkeypatch):
    split, last = random_split(64, shape=(1, 8, 8)), {}
    for share in (0.0, 0.9):  # 0 keeps the last weights alone
        monkeypatch.setattr(gan_prior, "AVERAGED", share)
        last[share] = [trained(split, (1, 8, 8), steps, 3, 4, seed=1)["weights"]["first.weight"] for steps in (1, 2, 3)]
    first, second, third = last[0.0]
    torch.testing.assert_close(last[0.9][2], 0.9 * (0.9 * first + 0.1 * second) + 0.1 * third)


def test_weights_that_are_not_finite_end_the_run(monkeypatch):
    monkeypatch.setitem(gan_prior.LR, "generator", math.inf)
    with pytest.raises(RunError, match="not finite"):
        trained(random_split(64, shape=(1, 8, 8)), (1, 8, 8), 3, 3, 4, seed=0)


def test_the_generator_is_trained_once_and_stays_as_it_is():
    torch.manual_seed(0)
    net = CNN((1, 8, 8), 3, [4, 6]).eval()
    context = Studio(net, (1, 8, 8))
    method = configured(Maximise, prior="gan", steps=5, copies=1, gan_steps=3, gan_latent=3, gan_width=4)
    first = method.explain(net, context)
    weights = {name: tensor.clone() for (kept,) in [context.kept.values()] for name, tensor in kept["weights"].items()}
    context.generator.manual_seed(0)
    again = method.explain(net, context)
    assert context.makings == 1
    assert first.tables == again.tables
    (kept,) = context.kept.values()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in kept["weights"].items())
    generator(context, 4, 3, 4)
    assert context.makings == 2  # other settings, another generator


def test_pictures_of_codes_are_the_generators_own_in_eval_mode():
    context = Studio(nn.Flatten(), (1, 8, 8))
    made_by, frame = generator(context, 2, 3, 4), Frame.of(context)
    canvas = latent(made_by, frame, nn.Flatten(), torch.arange(6), torch.Generator().manual_seed(0))
    canvas.train()  # as `fit` does: batch norm must not look at the batch
    with torch.no_grad():
        torch.testing.assert_close(frame.unit(canvas()), made_by(canvas.value))
        torch.testing.assert_close(canvas()[:2], frame.normalised(made_by(canvas.value[:2])))
    assert not any(module.training for module in made_by.modules())


def test_a_search_begins_where_its_unit_is_excited():
    context = Studio(nn.Flatten(), (1, 8, 8))
    made_by, frame = generator(context, 2, 3, 4), Frame.of(context)
    wanted = torch.arange(6)
    codes = latent(made_by, frame, nn.Flatten(), wanted, torch.Generator().manual_seed(0)).value.detach()
    same = torch.Generator().manual_seed(0)
    draws = torch.stack([torch.randn(6, 3, generator=same) for _ in range(gan_prior.TRIED)])
    with torch.no_grad():
        pixels = torch.stack([frame.normalised(made_by(each)).flatten(1)[wanted, wanted] for each in draws])
    assert torch.equal(codes, draws[pixels.argmax(0), wanted])


def test_the_prior_is_the_density_of_the_lengths_of_normal_codes():
    codes = torch.randn(20, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = -scipy.stats.chi(7).logpdf(codes.norm(dim=1))
    found = shell(codes).numpy()
    np.testing.assert_allclose(found - found[0], expected - expected[0], atol=1e-9)


def test_a_strong_prior_draws_the_codes_to_where_normal_ones_lie(monkeypatch):
    """Not to the origin, where none lie."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval()
    context, canvases = Studio(net, (1, 8, 8)), []

    def kept(*arguments):
        canvases.append(latent(*arguments))
        return canvases[-1]

    monkeypatch.setattr("mlbench.explain.feature_visualisation.gan_prior.latent", kept)
    settings = {"prior": "gan", "steps": 300, "gan_steps": 2, "gan_latent": 10, "gan_width": 4, "jitter": 0}
    configured(Maximise, latent_prior=1e4, scale=0.0, rotation=0.0, **settings).synthesise(
        context, net, torch.arange(3), ""
    )
    torch.testing.assert_close(canvases[0].value.detach().norm(dim=1), torch.full((3,), 3.0), atol=0.05, rtol=0)


def test_a_run_keeps_the_generator_in_the_store(mlbench, tmp_path):
    words = ("explain=maximise", "explain.prior=gan", "explain.gan_steps=20", "explain.steps=20", *SMALL)
    assert mlbench(*words)[0] == 0
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "store").glob("*.pt")}
    assert len(kept) == 2  # the network and the generator
    assert mlbench(*words, "explain.latent_prior=0.2")[0] == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "store").glob("*.pt")} == kept
    for folder in folders(tmp_path / "out"):
        rows = [row["pictures"] for row in table(folder / "naturalness.csv")]
        assert rows == ["real", "raw", "regularised"]
        assert summary(folder)["metrics"]["regularised_nearest_distance"] > 0
