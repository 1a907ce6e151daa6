import pytest
import torch

from mlbench.core.errors import SettingError, UserError
from mlbench.data.datasets.digits import Digits
from mlbench.data.normalisation import Normalise
from mlbench.data.output_heads import GrowingHead, OwnHeads, SharedHead
from mlbench.data.scenarios.streams import Permuted, Rotated, SplitClasses
from mlbench.data.split import Batch, Split
from mlbench.data.task_transforms import Permutation, Rotation


def make(kind, seed=0, **changes):
    values = {"source": Digits(), "tasks": 5, "train_per_task": None, "test_per_task": None}
    values |= {"task_order": "fixed", "order_seed": None}
    extra = {
        SplitClasses: {"scenario": "task", "class_order": "fixed"},
        Permuted: {"scenario": "domain"},
        Rotated: {"scenario": "domain", "max_angle": 180.0},
    }
    return kind(**{**values, **extra[kind], **changes}).stream(None, torch.Generator().manual_seed(seed))


def everything(split):
    return split.batch(torch.arange(len(split)))


def test_split_shares_out_every_class_once_and_every_example_once():
    stream = make(SplitClasses)
    assert stream.classes == [str(i) for i in range(10)]
    assert stream.outputs == 10
    assert [task.name for task in stream.tasks] == ["0 1", "2 3", "4 5", "6 7", "8 9"]
    rows = torch.cat([task.train.rows for task in stream.tasks])
    assert sorted(rows.tolist()) == list(range(1437))
    labels = Digits().load(None).y_train
    for number, task in enumerate(stream.tasks):
        assert torch.equal(labels[task.train.rows] - 2 * number, task.train.labels)
        assert set(task.train.labels.tolist()) == {0, 1}


@pytest.mark.parametrize(
    ("scenario", "outputs", "last"), [("task", 10, {0, 1}), ("domain", 2, {0, 1}), ("class", 10, {8, 9})]
)
def test_scenarios_set_outputs_and_labels(scenario, outputs, last):
    stream = make(SplitClasses, scenario=scenario)
    assert stream.outputs == outputs
    assert set(stream.tasks[-1].test.labels.tolist()) == last


def test_shuffled_class_order_follows_the_seed():
    assert (
        make(SplitClasses, 1, class_order="shuffled").classes == make(SplitClasses, 1, class_order="shuffled").classes
    )
    assert (
        make(SplitClasses, 1, class_order="shuffled").classes != make(SplitClasses, 2, class_order="shuffled").classes
    )


@pytest.mark.parametrize("kind", [SplitClasses, Permuted, Rotated])
def test_sizes_can_be_limited_and_draws_follow_the_seed(kind):
    first, again, other = (make(kind, seed, train_per_task=20, test_per_task=7) for seed in (3, 3, 4))
    assert {len(task.train) for task in first.tasks} == {20}
    assert {len(task.test) for task in first.tasks} == {7}
    for a, b, c in zip(first.tasks, again.tasks, other.tasks, strict=True):
        assert torch.equal(everything(a.train).x, everything(b.train).x)
        assert not torch.equal(everything(a.train).x, everything(c.train).x)


def test_permutations_move_pixels_and_lose_none():
    stream = make(Permuted)
    pictures = stream.tasks[0].train.pool.examples
    orders = stream.tasks[0].train.transform.orders
    for task in stream.tasks:
        index = torch.arange(10)
        expected = pictures[task.train.rows[index]].flatten(1)[:, orders[task.train.task]]
        assert torch.equal(task.train.raw(index).flatten(1), expected)
    assert len({tuple(order.tolist()) for order in orders}) == 5
    assert all(sorted(order.tolist()) == list(range(64)) for order in orders)


def test_rotation_by_quarter_turns_equals_rot90():
    pictures = torch.randint(0, 256, (6, 2, 8, 8), dtype=torch.uint8)
    rotate = Rotation(torch.tensor([0.0, 90.0, 180.0, 270.0]))
    for turns in range(4):
        assert torch.equal(rotate(pictures, turns), torch.rot90(pictures, turns, (2, 3)))


def test_rotation_by_45_degrees_moves_a_point_where_it_belongs():
    picture = torch.zeros(1, 1, 21, 21, dtype=torch.uint8)
    picture[0, 0, 10, 17] = 255  # right of the centre
    turned = Rotation(torch.tensor([45.0]))(picture, 0)[0, 0].float()
    y, x = divmod(int(turned.argmax()), 21)
    assert (y, x) == (5, 15)  # up and to the right: counter-clockwise


def test_rotations_are_spread_over_the_range():
    angles = make(Rotated).tasks[0].train.transform.degrees
    assert all(36 * i <= angle <= 36 * (i + 1) for i, angle in enumerate(angles.tolist()))


@pytest.mark.parametrize("kind", [Permuted, Rotated])
def test_a_union_shows_each_example_as_its_own_task_does(kind):
    stream = make(kind, train_per_task=6)
    union = everything(Split.union([task.train for task in stream.tasks]))
    alone = [everything(task.train) for task in stream.tasks]
    assert torch.equal(union.x, torch.cat([part.x for part in alone]))
    assert torch.equal(union.y, torch.cat([part.y for part in alone]))
    assert union.task.tolist() == [t for t in range(5) for _ in range(6)]


@pytest.mark.parametrize("kind", [Permuted, Rotated])
def test_a_transform_applied_in_advance_gives_the_same_pictures(kind):
    test = make(kind).tasks[3].test
    assert torch.equal(everything(test.with_transform_applied()).x, everything(test).x)
    assert test.with_transform_applied().transform is None


def test_all_tasks_share_one_pool():
    stream = make(Permuted, tasks=20)
    assert len({id(task.train.pool) for task in stream.tasks}) == 1
    moved = stream.to(torch.device("cpu"))
    assert len({id(task.train.pool) for task in moved.tasks}) == 1


def test_normalisation_is_that_of_the_training_data():
    pictures = torch.randint(0, 256, (50, 3, 5, 5), dtype=torch.uint8)
    normalise = Normalise.fitted(pictures)
    x = normalise(pictures)
    torch.testing.assert_close(x.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-5, rtol=0)
    assert pictures.dtype == torch.uint8
    floats = pictures.float()
    before = floats.clone()
    normalise(floats)
    assert torch.equal(floats, before)


def test_unit_normalisation_ends_at_0_and_1():
    stream = make(Permuted, source=Digits(normalise="unit"))
    x = everything(stream.tasks[0].train).x
    assert (x.min(), x.max()) == (0, pytest.approx(240 / 255))


def test_validation_cut_takes_every_example_once(split):
    data = split(50)
    rest, held_out = data.cut(0.2, torch.Generator().manual_seed(0))
    assert (len(rest), len(held_out)) == (40, 10)
    assert sorted(torch.cat([rest.rows, held_out.rows]).tolist()) == list(range(50))
    with pytest.raises(UserError, match="leaves one side empty"):
        data.cut(0.001, torch.Generator())


def test_heads_let_the_right_outputs_compete():
    logits, task = torch.arange(12.0).view(2, 6), torch.tensor([2, 0])
    assert torch.equal(SharedHead()(logits, task), logits)
    assert OwnHeads(2)(logits, task).tolist() == [[4, 5], [6, 7]]
    growing = GrowingHead(2)
    assert growing(logits, task).shape == (2, 6)
    growing.begin_task(1)
    growing.begin_task(0)
    assert growing(logits, task).tolist() == [[0, 1, 2, 3], [6, 7, 8, 9]]


@pytest.mark.parametrize(("name", "value"), [("tasks", 1), ("tasks", 3), ("train_per_task", 0), ("test_per_task", -1)])
def test_settings_out_of_range_are_refused(name, value):
    with pytest.raises(SettingError, match=name):
        make(SplitClasses, **{name: value})


def test_angles_out_of_range_are_refused():
    with pytest.raises(SettingError, match="max_angle"):
        make(Rotated, max_angle=0.0)


def test_transforms_move_with_their_module():
    assert Permutation(torch.arange(4).view(1, 4)).to("meta").orders.is_meta


def test_batches_carry_the_task_of_each_example():
    batch = make(Permuted).tasks[3].train.batch(torch.tensor([0, 5]))
    assert isinstance(batch, Batch)
    assert batch.task.tolist() == [3, 3]


@pytest.mark.parametrize(("kind", "scenario"), [(SplitClasses, "class"), (SplitClasses, "task"), (Permuted, "domain")])
def test_the_same_tasks_come_in_another_order(kind, scenario):
    fixed = make(kind, scenario=scenario, train_per_task=9)
    moved = make(kind, scenario=scenario, train_per_task=9, task_order=[3, 1, 5, 2, 4])
    step = 2 if scenario == "class" else 0
    for new, old in enumerate([2, 0, 4, 1, 3]):
        for part in ("train", "test"):
            before, after = (everything(getattr(s.tasks[i], part)) for s, i in ((fixed, old), (moved, new)))
            assert torch.equal(before.x, after.x)
            assert torch.equal(before.y + (new - old) * step, after.y)
            assert after.task.unique().tolist() == [new]
        assert fixed.tasks[old].name == moved.tasks[new].name
    if kind is SplitClasses:
        assert moved.classes == ["4", "5", "0", "1", "8", "9", "2", "3", "6", "7"]
    union = Split.union([task.train for task in moved.tasks])
    assert torch.equal(union.batch(torch.arange(9)).x, everything(moved.tasks[0].train).x)


def test_shuffling_follows_its_own_seed_or_the_runs():
    def names(seed, **changes):
        return [task.name for task in make(Rotated, seed, **changes).tasks]

    assert sorted(names(0, task_order="shuffled")) == sorted(names(0))
    assert names(0, task_order="shuffled") != names(1, task_order="shuffled")
    orders = [names(0, task_order="shuffled", order_seed=seed) for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    places = [sorted(order).index(name) for order in orders[:1] for name in order]
    other = names(1, task_order="shuffled", order_seed=0)
    assert places == [sorted(other).index(name) for name in other]  # one order for all seeds


@pytest.mark.parametrize("order", ["random", ["a", 2, 3, 4, 5], [1, 2, 3], [0, 1, 2, 3, 4], [1, 1, 2, 3, 4]])
def test_an_order_that_is_none_is_refused(order):
    with pytest.raises(SettingError, match="each of 1 to 5 once"):
        make(Rotated, task_order=order)
