"""Pictures with a planted answer: where it stands, what it decides, and that nothing else was touched."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from mlbench.core.errors import SettingError
from mlbench.data.dataset import Arrays, Source
from mlbench.data.datasets.digits import Digits
from mlbench.data.datasets.planted import PlantedTexture, textures
from mlbench.data.normalisation import Normalise
from mlbench.data.split import Pool, Split
from mlbench.data.stream import Planted

SIDES = (18, 20)


@dataclass(kw_only=True)
class Noise(Source):
    """400 training and 90 test pictures in colour, of grey values that no texture has, in 4 classes."""

    def load(self, data_dir):
        draws = np.random.default_rng(5)
        x = [torch.from_numpy(draws.integers(1, 255, (count, 3, *SIDES), dtype=np.uint8)) for count in (400, 90)]
        y = [torch.from_numpy(draws.permutation(count) % 4) for count in (400, 90)]
        return Arrays(x[0], y[0], x[1], y[1], ["ant", "bee", "cat", "dog"])


def planted(label="texture", number=4, size=None, share=1.0, seed=0, source=None):
    data = PlantedTexture(source or Noise(), label, number, size, share)
    return data.stream(None, torch.Generator().manual_seed(seed))


def original(split, labels=None):
    """The pictures of `split`, those of some classes only, found without any code of planted.py."""
    x, y = (Noise().load(None).x_train, Noise().load(None).y_train)
    if split == "test":
        x, y = (Noise().load(None).x_test, Noise().load(None).y_test)
    kept = torch.ones(len(y), dtype=torch.bool) if labels is None else y < labels
    return x[kept], y[kept]


def changed_by_hand(picture, pattern, corner):
    """`picture` with `pattern` put in pixel by pixel, channel by channel."""
    picture, (top, left) = picture.clone(), corner
    for channel in range(picture.shape[0]):
        for row in range(pattern.shape[0]):
            for column in range(pattern.shape[1]):
                picture[channel, top + row, left + column] = pattern[row, column]
    return picture


@pytest.mark.parametrize("size", [None, 3, 17])
def test_the_texture_stands_at_its_corner_and_nothing_else_changed(size):
    stream = planted(size=size)
    (task,), patterns = stream.tasks, textures(4, size or 5)
    assert task.planted.size == (size or 5)
    for name, split, corners in (("train", task.train, task.planted.train), ("test", task.test, task.planted.test)):
        before, _ = original(name)
        after = split.raw(torch.arange(len(split)))
        assert len(corners) == len(before) == len(after)
        for picture, old, label, corner in zip(after, before, split.labels, corners.tolist(), strict=True):
            assert torch.equal(picture, changed_by_hand(old, patterns[label], corner))


def test_textures_reach_every_edge_and_are_nowhere_more_often():
    corners = planted(size=5).tasks[0].planted.train
    for axis, side in enumerate(SIDES):
        places = side - 5 + 1
        counts = torch.bincount(corners[:, axis], minlength=places)
        assert len(counts) == places
        assert counts.min() > 0
        expected = 400 / places
        assert ((counts - expected) ** 2 / expected).sum() < 2 * places  # chi-squared, 13 or 15 degrees of freedom


def test_the_label_is_independent_of_what_the_picture_shows():
    stream = planted(number=4)
    assert (stream.outputs, stream.classes) == (4, ["texture 0", "texture 1", "texture 2", "texture 3"])
    labels, (_, own) = stream.tasks[0].train.labels, original("train")
    table = torch.zeros(4, 4, dtype=torch.float64)
    table.index_put_((labels, own), torch.ones(400, dtype=torch.float64), accumulate=True)
    expected = table.sum(1, keepdim=True) * table.sum(0) / 400
    assert ((table - expected) ** 2 / expected).sum() < 27.9  # chi-squared with 9 degrees of freedom, p = .001
    assert labels.bincount(minlength=4).min() > 70


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.25, 50), (0.9, 180), (1.0, 200)])
def test_a_share_of_the_training_pictures_has_the_shortcut_and_every_test_picture(share, count):
    stream = planted("own", number=2, share=share)
    assert (stream.outputs, stream.classes) == (2, ["ant", "bee"])
    (task,), patterns = stream.tasks, textures(2, 5)
    before, labels = original("train", 2)
    assert torch.equal(task.train.labels, labels)
    corners, after = task.planted.train, task.train.raw(torch.arange(len(labels)))
    assert len(labels) == 200
    assert (corners[:, 0] >= 0).sum() == count
    for picture, old, label, corner in zip(after, before, labels, corners.tolist(), strict=True):
        expected = old if corner == [-1, -1] else changed_by_hand(old, patterns[label], corner)
        assert torch.equal(picture, expected)
    assert (task.planted.test >= 0).all()
    assert torch.equal(task.test.labels, original("test", 2)[1])


@pytest.mark.parametrize("label", ["texture", "own"])
def test_the_clean_split_is_the_original_test_set_with_the_labels_of_the_planted_one(label):
    task = planted(label, number=3).tasks[0]
    pictures, labels = original("test", 3 if label == "own" else None)
    clean = task.planted.clean
    assert torch.equal(clean.raw(torch.arange(len(clean))), pictures)
    assert torch.equal(clean.labels, task.test.labels)
    if label == "own":
        assert torch.equal(clean.labels, labels)
    batch, shown = clean.batch(torch.arange(5)), task.train.normalise(pictures[:5])
    assert torch.equal(batch.x, shown)  # as the network sees the others


def test_the_source_is_left_as_it_was(monkeypatch):
    arrays = Noise().load(None)
    kept = arrays.x_train.clone(), arrays.y_train.clone(), arrays.x_test.clone()
    monkeypatch.setattr(Noise, "load", lambda *_: arrays)
    planted()
    assert all(torch.equal(*pair) for pair in zip((arrays.x_train, arrays.y_train, arrays.x_test), kept, strict=True))


@pytest.mark.parametrize("normalise", ["standardise", "unit"])
def test_normalisation_is_that_of_the_pictures_with_textures(normalise):
    task = planted(source=Noise(normalise=normalise)).tasks[0]
    x = task.train.batch(torch.arange(len(task.train))).x
    if normalise == "unit":
        assert (x.min(), x.max()) == (0, 1)
    else:
        torch.testing.assert_close(x.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
        torch.testing.assert_close(x.std((0, 2, 3)), torch.ones(3), atol=1e-4, rtol=0)


def test_masks_by_hand():
    known = Planted(torch.empty(0, 2), torch.empty(0, 2), 2, None)
    masks = known.masks(torch.tensor([[1, 2], [-1, -1], [0, 0]]), (3, 4))
    by_hand = [
        [[0, 0, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]],
        [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
        [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]],
    ]
    assert masks.dtype == torch.bool
    assert masks.int().tolist() == by_hand


def test_a_cut_keeps_every_corner_with_its_picture():
    task, patterns = planted("own", number=3, share=0.6).tasks[0], textures(3, 5)
    for part in task.train.cut(0.3, torch.Generator().manual_seed(1)):
        corners = task.planted.train[part.rows]
        masks, pictures = task.planted.masks(corners, SIDES), part.raw(torch.arange(len(part)))
        there = corners[:, 0] >= 0
        assert 0 < there.sum() < len(part)
        assert torch.equal(masks.flatten(1).sum(1), 25 * there)
        extreme = ((pictures == 0) | (pictures == 255)).all(1)  # the originals have neither
        assert torch.equal(extreme, masks)
        for picture, label, mask in zip(pictures[there], part.labels[there], masks[there], strict=True):
            assert torch.equal(picture[0][mask].view(5, 5), patterns[label])


def test_the_corners_of_test_pictures_stay_right_on_the_device_of_a_run():
    stream = planted()
    moved = stream.to(torch.device("cpu")).tasks[0]
    pictures = moved.test.raw(torch.arange(len(moved.test)))
    masks = moved.planted.masks(moved.planted.test[moved.test.rows], SIDES)
    assert torch.equal(((pictures == 0) | (pictures == 255)).all(1), masks)


@pytest.mark.parametrize(("count", "size"), [(10, 3), (10, 5), (100, 3), (16, 2), (100, 5)])
def test_textures_are_distinct_and_always_the_same(count, size):
    drawn = textures(count, size)
    assert drawn.shape == (count, size, size)
    assert drawn.dtype == torch.uint8
    assert set(drawn.unique().tolist()) == {0, 255}
    assert len(drawn.flatten(1).unique(dim=0)) == count
    torch.manual_seed(3)
    assert torch.equal(textures(count, size), drawn)
    assert torch.equal(textures(count - 1, size), drawn[:-1])


def test_ten_textures_are_far_apart():
    flat = textures(10, 5).flatten(1).float() / 255
    apart = torch.cdist(flat, flat, p=1).fill_diagonal_(25)
    assert apart.min() >= 9  # of 25 pixels; two random ones differ in 12.5


def test_the_seed_decides_places_and_labels_and_nothing_else_does():
    one, same, other = (planted(seed=seed).tasks[0] for seed in (1, 1, 2))
    assert torch.equal(one.train.pool.examples, same.train.pool.examples)
    assert torch.equal(one.test.pool.examples, same.test.pool.examples)
    assert torch.equal(one.train.labels, same.train.labels)
    assert not torch.equal(one.train.labels, other.train.labels)
    assert not torch.equal(one.planted.train, other.planted.train)
    assert not torch.equal(one.planted.train[:90], one.planted.test)


def test_drawn_subsets_keep_pictures_labels_and_corners_together():
    task = planted("own", number=3, source=Noise(train_examples=50, test_examples=20)).tasks[0]
    pictures, labels = original("train")
    patterns = textures(3, 5)
    assert 20 < len(task.train) < 50  # three classes of four
    assert len(task.train) == len(task.planted.train) == len(task.train.pool.examples)
    assert len(task.planted.clean) == len(task.test) == len(task.planted.test)
    after = task.train.raw(torch.arange(len(task.train)))
    found = []
    for picture, label, corner in zip(after, task.train.labels, task.planted.train.tolist(), strict=True):
        candidates = [
            number
            for number in (labels == label).nonzero().squeeze(1).tolist()
            if torch.equal(picture, changed_by_hand(pictures[number], patterns[label], corner))
        ]
        assert len(candidates) == 1
        found += candidates
    assert found == sorted(set(found))


def test_small_pictures_get_small_textures():
    assert planted(source=Digits(), number=10).tasks[0].planted.size == 3


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"number": 1}, ["textures=1", "2 to 100"]),
        ({"number": 101}, ["textures=101", "2 to 100"]),
        ({"number": 17, "size": 2}, ["textures=17", "16", "2x2"]),
        ({"size": 1}, ["size=1", "2 to 64"]),
        ({"size": 18}, ["size=18", "less than", "18"]),
        ({"share": 0.5}, ["share=0.5", "label=texture"]),
        ({"share": 1.5, "label": "own"}, ["share=1.5", "0 to 1"]),
        ({"number": 5, "label": "own"}, ["textures=5", "4 classes"]),
        ({"source": Noise(drop_classes=[1])}, ["source.drop_classes", "[] here"]),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, parts):
    with pytest.raises(SettingError) as error:
        planted(**settings)
    for part in parts:
        assert part in str(error.value)


def test_a_split_without_pictures_of_the_first_classes_is_no_reason_to_fail_here():
    pictures = torch.zeros(3, 1, 8, 8, dtype=torch.uint8)
    split = Split(Pool(pictures), torch.arange(3), torch.tensor([5, 6, 7]), 0, Normalise.fitted(pictures))
    data = PlantedTexture(Digits(), "own", 2, None, 1.0)
    shown, corners = data.add_textures(split, textures(2, 3), 1.0, torch.Generator())
    assert len(shown) == len(corners) == 0
