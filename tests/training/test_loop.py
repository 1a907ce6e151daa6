import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mlbench.core.errors import RunError, SettingError
from mlbench.data.normalisation import Normalise
from mlbench.data.split import Pool, Split
from mlbench.data.task_transforms import Permutation
from mlbench.models.cnn import CNN
from mlbench.models.mlp import MLP
from mlbench.training.compute import Compute
from mlbench.training.evaluation import EVALUATION_BYTES, accuracy, mean_loss
from mlbench.training.fit_state import Progress, Session
from mlbench.training.learner import Learner
from mlbench.training.loop import examples_in_epoch, fit, make_optimizer, one_step
from mlbench.training.theta import Theta
from tests.conftest import random_split
from tests.training.test_theta import training


def net(seed=0):
    torch.manual_seed(seed)
    return MLP((1, 4, 4), 3, [8])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_fit_equals_a_plain_loop(split):
    data, mine, plain = split(50), net(), net()
    fit(mine, data, Learner(), training(epochs=3, momentum=0.9), Compute(), generator())
    draws, optimizer = generator(), torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9)
    pictures = data.pool.examples.float()
    x = (pictures - pictures.mean()) / pictures.std(correction=0)
    for _ in range(3):
        for index in torch.randperm(50, generator=draws).split(8):
            optimizer.zero_grad()
            F.cross_entropy(plain(x[index]), data.labels[index]).backward()
            optimizer.step()
    for a, b in zip(mine.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("extra", [{}, {"schedule": "cosine"}, {"validation": 0.2, "patience": 5}])
def test_a_fit_cut_off_at_any_chunk_goes_on_bit_for_bit(split, monkeypatch, optimizer, extra):
    monkeypatch.setattr("mlbench.training.loop.CHUNK_BYTES", {"cpu": 16 * 4 * 8, "cuda": 0})  # a chunk is one batch
    data, settings = split(40), training(epochs=3, optimizer=optimizer, lr=0.02, augment="crop_flip", **extra)
    whole, draws, saved = net(), generator(), []

    def keep(progress):
        state = {**progress.state(), "optimizer": clone(progress.optimizer)}
        saved.append((state, clone(whole.state_dict()), draws.get_state()))

    final = Progress()
    fit(whole, data, Learner(), settings, Compute(), draws, Session(final, keep))
    assert len(saved) >= 12
    for state, weights, position in saved[::3]:
        resumed, again = net(seed=9), generator()
        resumed.load_state_dict(weights)
        again.set_state(position)
        progress = Progress.from_state(clone(state))
        fit(resumed, data, Learner(), settings, Compute(), again, Session(progress))
        assert progress.losses == final.losses
        for a, b in zip(resumed.parameters(), whole.parameters(), strict=True):
            assert torch.equal(a, b)


def clone(value):
    if isinstance(value, torch.Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: clone(part) for key, part in value.items()}
    return [clone(part) for part in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    "settings",
    [{"momentum": 0.0}, {"momentum": 0.9}, {"optimizer": "adam", "lr": 1e-2}, {"optimizer": "adamw", "lr": 1e-2}],
)
def test_one_step_is_how_far_a_steady_gradient_moves(settings):
    theta = Theta(net())
    optimizer = make_optimizer(theta, training(**settings), [])
    gradient = torch.rand(theta.value.numel()) + 0.5
    for _ in range(400):
        before = theta.copy()
        theta.grad.copy_(gradient)
        optimizer.step()
    moved = (before - theta.value) / gradient
    torch.testing.assert_close(moved, torch.as_tensor(one_step(optimizer)).expand_as(moved), rtol=2e-3, atol=1e-5)


def test_weight_decay_leaves_the_named_pieces_alone():
    theta = Theta(net())
    before = theta.copy()
    optimizer = make_optimizer(theta, training(weight_decay=0.5), [slice(3, 7), slice(20, 21)])
    optimizer.step()
    kept = torch.zeros(theta.value.numel(), dtype=torch.bool)
    kept[3:7] = kept[20] = True
    torch.testing.assert_close(theta.value[kept], before[kept])
    torch.testing.assert_close(theta.value[~kept], before[~kept] * (1 - 0.1 * 0.5))


@pytest.mark.parametrize(
    ("schedule", "factor"),
    [
        ("linear", lambda t: 1 - t),
        ("cosine", lambda t: (1 + math.cos(math.pi * t)) / 2),
        ("warmup", lambda t: t / 0.1 if t < 0.1 else (1 - t) / 0.9),
    ],
)
def test_schedules_fall_from_the_full_rate_to_nothing(split, schedule, factor):
    seen = []

    class Spy(Learner):
        def after_step(self, net, theta, step_size):
            seen.append(step_size())

    fit(net(), split(40), Spy(), training(epochs=2, schedule=schedule), Compute(), generator())
    assert seen == pytest.approx([0.1 * factor(step / 10) for step in range(10)])


def test_early_stopping_gives_back_the_best_weights(split):
    data, seen = split(60), []

    class Worse(Learner):
        """Learns for two epochs, then walks away from what it learned."""

        def adjust(self, net, theta):
            if len(seen) >= 2:
                theta.grad.copy_(torch.ones_like(theta.grad))

    net_, progress = net(), Progress()
    fit(
        net_,
        data,
        Worse(),
        training(epochs=50, validation=0.25, patience=3),
        Compute(),
        generator(),
        Session(progress, lambda p: seen.append(clone(net_.state_dict())) if len(p.losses) > len(seen) else None),
    )
    assert progress.best["epoch"] <= 3
    assert progress.epoch == progress.best["epoch"] + 3
    for name, weights in seen[progress.best["epoch"] - 1].items():
        assert torch.equal(net_.state_dict()[name], weights)


@pytest.mark.parametrize(("kind", "layout"), [(MLP, torch.contiguous_format), (CNN, torch.channels_last)])
def test_pictures_lie_as_the_network_is_fastest(kind, layout):
    pool = Pool(torch.randint(0, 256, (16, 3, 8, 8), dtype=torch.uint8, generator=generator()))
    data = Split(pool, torch.arange(16), torch.arange(16) % 3, 0, Normalise.fitted(pool.examples))
    seen = []

    class Watching(Learner):
        def loss(self, net, batch):
            seen.append(batch.x.is_contiguous(memory_format=layout))
            return super().loss(net, batch)

    fit(kind((3, 8, 8), 3, [8]), data, Watching(), training(epochs=1), Compute(), generator())
    assert seen == [True, True]


def test_a_loss_that_is_not_finite_ends_the_run_and_says_where(split):
    class Explodes(Learner):
        def loss(self, net, batch):
            return super().loss(net, batch) * float("inf")

    with pytest.raises(RunError, match=r"epoch 1, step 1 of 5; try a smaller train\.lr"):
        fit(net(), split(40), Explodes(), training(), Compute(), generator())


def test_a_last_batch_of_one_is_dropped_only_for_batch_norm():
    assert examples_in_epoch(net(), 41, 8) == 41
    assert examples_in_epoch(CNN((1, 4, 4), 3, [4]), 41, 8) == 40
    assert examples_in_epoch(CNN((1, 4, 4), 3, [4]), 42, 8) == 42


def test_weights_that_are_not_finite_after_the_last_step_end_the_run(split):
    class Overflows(Learner):
        def adjust(self, net, theta):
            theta.grad.fill_(float("inf"))

    with pytest.raises(RunError, match="not finite"):
        fit(net(), split(8), Overflows(), training(), Compute(), generator())


def test_augmentation_comes_before_the_task_scrambles_the_pixels():
    order = torch.tensor([[15, 3, 7, 11, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14]])
    pictures = torch.arange(16, dtype=torch.uint8).view(1, 1, 4, 4)
    labels = torch.zeros(1, dtype=torch.long)
    data = Split(Pool(pictures), labels, labels, 0, Normalise.fitted(pictures), Permutation(order))
    shown = data.raw(torch.tensor([0]), lambda pictures: pictures.flip(3))
    assert torch.equal(shown.flatten(), pictures.flip(3).flatten()[order[0]])


def test_bf16_trains_close_to_fp32(split):
    data, half, full = split(200), net(), net()
    for network, precision in ((half, "bf16"), (full, "fp32")):
        progress = Progress()
        fit(network, data, Learner(), training(epochs=5), Compute(precision=precision), generator(), Session(progress))
        assert progress.losses[-1] < 0.8 * progress.losses[0]
    assert next(half.parameters()).dtype == torch.float32
    assert not torch.equal(next(half.parameters()), next(full.parameters()))


@pytest.mark.parametrize(
    ("name", "value"),
    [("lr", 0.0), ("lr", math.inf), ("epochs", -1), ("batch_size", 0), ("momentum", 1.0), ("weight_decay", -1.0),
     ("validation", 1.0), ("patience", -1), ("class_weights", "even"), ("class_weights", [1.0, -1.0]),
     ("class_weights", [0, 0]), ("class_weights", ["a", "b"])],
)  # fmt: skip
def test_settings_out_of_range_are_refused(name, value):
    with pytest.raises(SettingError, match=name):
        training(**{name: value})


def test_early_stopping_goes_by_what_the_learner_is_judged_by():
    class Backwards(Learner):
        def validation_loss(self, net, batch):
            return -self.loss(net, batch)

    plain, backwards = MLP((1, 4, 4), 3, [5]), MLP((1, 4, 4), 3, [5])
    backwards.load_state_dict(plain.state_dict())
    settings, losses = training(epochs=8, lr=0.5, validation=0.25, patience=8), []
    for net, learner in ((plain, Learner()), (backwards, Backwards())):
        progress = Progress()
        fit(net, random_split(60), learner, settings, Compute(), torch.Generator().manual_seed(0), Session(progress))
        losses.append(progress.best["epoch"])
    assert losses[0] != losses[1]
    assert losses[1] == 1  # the worst loss is that of the first epoch


def test_too_few_examples_for_a_network_with_batch_norm_are_no_loss_that_is_not_a_number():
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))
    with pytest.raises(RunError, match="there are 1 examples to learn from, too few"):
        fit(net, random_split(1), Learner(), training(batch_size=8), Compute(), torch.Generator().manual_seed(0))


def test_accuracy_and_loss_do_not_depend_on_how_examples_are_cut(monkeypatch):
    """Every example counts once, the last one, too."""
    net, split = MLP((1, 4, 4), 3, [5]).eval(), random_split(23)
    logits = net(split.batch(split.places).x).detach()
    right = (logits.argmax(1) == split.labels).double().mean().item()
    surprise = F.cross_entropy(logits.double(), split.labels).item()
    for at_once in (1, 5, 22, 23, 100):
        monkeypatch.setitem(EVALUATION_BYTES, "cpu", at_once * 16 * 4)
        assert accuracy(net, split, Learner().logits) == right
        assert mean_loss(net, split, Learner().logits) == pytest.approx(surprise, rel=1e-5)
