"""Find and mend: the window by brute force, the paint by hand, and that the truth decides nothing."""

import itertools

import numpy as np
import pytest
import torch

from mlbench.core.errors import SettingError, UserError
from mlbench.data.normalisation import Normalise
from mlbench.data.patches import inside as square
from mlbench.data.split import Pool, Split
from mlbench.explain.attribution.saliency import Saliency
from mlbench.explain.shortcut_removal import Mend, inpaint, overlap, random_corners, strongest_corners
from tests.experiment.test_runs import only_run, summary
from tests.explain.test_runner import table
from tests.techniques import configured

QUICK = ("explain@explain.attribution=saliency", "train.epochs=2", "model.channels=[8,8]", "train.optimizer=adam")
QUICK += ("train.lr=0.01", "train.batch_size=64", "threads=1")
FEW = ("data.source.train_examples=200", "data.source.test_examples=100")


@pytest.mark.parametrize("window", [1, 2, 5, 6])
def test_the_strongest_window_is_that_of_a_search_over_all(window):
    maps = torch.rand(7, 6, 9, generator=torch.Generator().manual_seed(window))
    for number, corner in enumerate(strongest_corners(maps, window).tolist()):
        places = itertools.product(range(6 - window + 1), range(9 - window + 1))
        sums = {(r, c): maps[number, r : r + window, c : c + window].sum().item() for r, c in places}
        assert tuple(corner) == max(sums, key=sums.get)


def split_of(pictures):
    return Split(
        Pool(pictures), torch.arange(len(pictures)).flip(0), torch.arange(len(pictures)), 0, Normalise.fitted(pictures)
    )


@pytest.mark.parametrize("margin", [0, 1])
def test_paint_covers_the_window_with_the_mean_around_it_and_changes_nothing_else(margin):
    pictures = torch.randint(0, 256, (40, 3, 11, 9), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    kept, split = pictures.clone(), split_of(pictures)
    corners = random_corners(torch.zeros(40, 2), (11, 9), 3, torch.Generator().manual_seed(2))
    corners[:2] = torch.tensor([[0, 0], [8, 6]])  # into the edges
    after = inpaint(split, corners, 3, margin)
    assert torch.equal(pictures, kept)
    assert torch.equal(after.labels, split.labels)
    for number, (top, left) in enumerate(corners.tolist()):
        old, new = kept[39 - number].numpy(), after.raw(torch.tensor([number]))[0].numpy()
        inside, ring = np.zeros((11, 9), bool), np.zeros((11, 9), bool)
        far = margin + 2
        inside[max(0, top - margin) : top + 3 + margin, max(0, left - margin) : left + 3 + margin] = True
        ring[max(0, top - far) : top + 3 + far, max(0, left - far) : left + 3 + far] = True
        paint = old[:, ring & ~inside].astype(float).mean(1)
        assert np.array_equal(new[:, ~inside], old[:, ~inside])
        assert (abs(new[:, inside] - paint[:, None]) <= 0.51).all()


def test_random_windows_reach_every_place():
    corners = random_corners(torch.zeros(2000, 2), (5, 7), 3, torch.Generator().manual_seed(0))
    assert {tuple(corner) for corner in corners.tolist()} == set(itertools.product(range(3), range(5)))


def test_overlap_is_that_of_counted_pixels():
    generator = torch.Generator().manual_seed(3)
    one, other = (torch.randint(0, 6, (50, 2), generator=generator) for _ in range(2))
    a, b = square(one, 3, (12, 12)), square(other, 4, (12, 12))
    counted = (a & b).sum((1, 2)) / (a | b).sum((1, 2))
    torch.testing.assert_close(overlap(one, other, 3, 4), counted)
    assert overlap(torch.tensor([[2, 2]]), torch.tensor([[-1, -1]]), 5, 3).item() == 0


def test_a_run_removes_the_shortcut_without_using_its_location(mlbench, tmp_path, monkeypatch):
    """With the truth shuffled only the count of what was found is another."""
    from mlbench.explain.runner import Explain

    words = ("explain=mend", "explain.rounds=2", *QUICK, *FEW)
    code, _, error = mlbench(*words)
    assert code == 0, error
    folder = only_run(tmp_path / "out")
    metrics = summary(folder)["metrics"]
    assert metrics["clean_accuracy_before"] == metrics["clean_accuracy"]
    rows = table(folder / "rounds.csv")
    assert [row["round"] for row in rows] == ["0", "1", "2"]
    assert float(rows[0]["clean_accuracy"]) == metrics["clean_accuracy_before"]
    assert float(rows[2]["clean_accuracy"]) == metrics["clean_accuracy_after"]
    assert float(rows[2]["found_share"]) == metrics["found_share"] >= float(rows[1]["found_share"])
    assert [path.name for path in (folder / "figures").glob("*.png")] == ["mended.png"]
    made = Explain.__post_init__

    def shuffled(job):
        made(job)
        corners = job.planted.train
        job.planted.train = corners[torch.randperm(len(corners), generator=torch.Generator().manual_seed(0))]

    monkeypatch.setattr(Explain, "__post_init__", shuffled)
    assert mlbench(*words, f"out={tmp_path / 'shuffled'}", out=False)[0] == 0
    changed = summary(only_run(tmp_path / "shuffled"))["metrics"]
    assert changed.pop("found_share") < metrics.pop("found_share")
    assert changed == metrics


def test_without_a_planted_answer_there_is_nothing_clean(mlbench, tmp_path):
    code, _, error = mlbench("explain=mend", "data=digits", "data.train_examples=100", *QUICK)
    assert code == 0, error
    metrics = summary(only_run(tmp_path / "out"))["metrics"]
    assert set(metrics) == {"accuracy", "accuracy_before", "accuracy_after", "accuracy_random"}


def test_other_pictures_and_other_maps_can_be_chosen(mlbench):
    """Nested choices are spelled on the command line; a mistake in them is named."""
    code, _, error = mlbench("explain=mend", "explain@explain.attribution=occlusion", "explain.attribution.stride=9")
    assert code == 2
    assert "explain.attribution.stride=9" in error
    code, _, error = mlbench("explain=mend", "data.source=mnist")
    assert code == 2
    assert "mnist.npz" in error


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("explain.rounds=0", ["rounds", "1 or more"]),
        ("explain.margin=-1", ["margin", "0 or more"]),
        ("explain.window=0", ["window", "1 or more"]),
        ("explain.attribution.target=3", ["attribution.target", "label"]),
        ("explain.attribution.images=here", ["attribution.images", "training pictures"]),
    ],
)
def test_mistakes_get_short_answers_and_leave_nothing(mlbench, tmp_path, word, parts):
    code, _, error = mlbench("explain=mend", word)
    assert code == 2, error
    assert all(part in error for part in parts)
    assert not list((tmp_path / "out").glob("explain/*/*"))


def test_a_window_that_leaves_nothing_is_refused():
    method = configured(Mend, attribution=configured(Saliency), window=6)
    with pytest.raises(Exception, match=r"window=6.*below 8 pixels"):
        method.size((8, 8))
    assert configured(Mend, attribution=configured(Saliency)).size((8, 8)) == 3
    assert configured(Mend, attribution=configured(Saliency)).size((28, 28)) == 5


def test_unsuitable_attributions_are_refused_before_training():
    class Picky(Saliency):
        def check(self, net):
            raise SettingError("layer", 3, "another one")

        def rehearse(self, net, x):
            raise UserError("these pictures are not for it")

    method = configured(Mend, attribution=configured(Picky))
    with pytest.raises(UserError, match=r"explain\.attribution\.layer=3: allowed is another one"):
        method.check(None)
    with pytest.raises(UserError, match="these pictures are not for it"):
        method.rehearse(None, torch.zeros(1, 1, 28, 28))
