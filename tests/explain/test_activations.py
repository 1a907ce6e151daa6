"""What layers give, against the same layers run by hand."""

import pytest
import torch
from torch import Tensor, nn

from mlbench.data.modality import PAD, PICTURES, Spectrograms, Tokens
from mlbench.data.normalisation import AsIds, Normalise
from mlbench.data.properties import Items
from mlbench.data.split import Pool, Split
from mlbench.data.stream import Task
from mlbench.explain.representation.activations import activations, layers_of, vectors
from mlbench.models.cnn import CNN, LeNet5
from mlbench.models.mlp import MLP
from mlbench.models.resnet import ResNet18


def split_of(x: Tensor, normalise: nn.Module | None = None, modality=PICTURES, lengths=None) -> Split:
    rows = torch.arange(len(x))
    return Split(Pool(x, modality, lengths), rows, torch.zeros_like(rows), 0, normalise or AsIds())


class Reader(nn.Module):
    """Each piece its vector, then the mean with its left neighbour."""

    layers = ["table", "blend"]

    def __init__(self):
        super().__init__()
        self.table, self.blend = nn.Embedding(20, 3), Blend()

    def forward(self, ids):
        return self.blend(self.table(ids)).mean(1)


class Blend(nn.Module):
    def forward(self, x):
        return (x + nn.functional.pad(x, (0, 0, 1, 0))[:, :-1]) / 2, "what else a layer may return"


class Tuples(Reader):
    def forward(self, ids):
        return self.blend(self.table(ids))[0].mean(1)


def text_task(ids):
    tokens = Tokens([f"piece {k}" for k in range(20)], [0, 1, 2], 3, 1)
    return Task("texts", split_of(ids, modality=tokens), split_of(ids.clone(), modality=tokens))


@pytest.mark.parametrize(
    ("net", "paths"),
    [
        (CNN((1, 8, 8), 3, [4, 5]), ["3", "9"]),  # behind each block's pooling; the second's mean is flat
        (MLP((1, 8, 8), 3, [4, 5]), ["2", "4"]),
        (LeNet5((1, 28, 28), 3), ["1", "4", "6"]),
        (ResNet18((3, 32, 32), 3, 4), [*"23456789", "12"]),
    ],
)
def test_layers_are_what_goes_into_the_next_weights(net, paths):
    assert layers_of(net) == paths


def test_activations_are_those_of_the_network_run_by_hand():
    net, x = CNN((1, 8, 8), 3, [4, 5]).eval(), torch.randint(0, 256, (300, 1, 8, 8), dtype=torch.uint8)
    split = split_of(x, Normalise(torch.tensor([100.0]), torch.tensor([50.0])))
    found = activations(net.train(), split, ["3", "9"])
    expected = nn.Sequential(*list(net.eval())[:4])((x.float() - 100) / 50)
    torch.testing.assert_close(found["3"], expected)
    torch.testing.assert_close(found["9"], nn.Sequential(*list(net)[4:10])(expected))
    assert not any(module._forward_hooks for module in net.modules())


def test_a_word_is_the_mean_over_its_pieces():
    ids = torch.tensor([[5, 6, 7, 8, PAD], [9, 10, PAD, PAD, PAD]], dtype=torch.int32)
    rows, spans = torch.tensor([1, 0, 0, 1]), torch.tensor([[1, 2], [0, 1], [1, 4], [0, 2]])
    net = Tuples()
    table = net.table.weight.detach()
    found = vectors(net, text_task(ids).train, Items(rows, {}, spans), ["table", "blend"])
    expected = torch.stack([table[10], table[5], table[6:9].mean(0), table[9:11].mean(0)])
    torch.testing.assert_close(found[:, 0], expected)
    torch.testing.assert_close(found[2, 1], (table[5] / 2 + table[6] + table[7] + table[8] / 2) / 3)


def test_what_pads_a_text_does_not_count():
    ids = torch.tensor([[5, 6, 7], [8, PAD, PAD]], dtype=torch.int32)
    task, net = text_task(ids), Tuples()
    found = vectors(net, task.train, Items(torch.arange(2), {}), ["table"])
    table = net.table.weight.detach()
    torch.testing.assert_close(found[:, 0], torch.stack([table[5:8].mean(0), table[8]]))


class Hears(nn.Module):
    layers = ["frames"]

    def __init__(self):
        super().__init__()
        self.frames = nn.Flatten(0, 1)

    def forward(self, x):
        return self.frames(x[None].squeeze(2).transpose(2, 3)).mean((1, 2))


def test_silence_behind_a_sound_does_not_count():
    x = torch.randn(4, 1, 2, 6)
    about = (Normalise(torch.zeros(1), torch.ones(1)), Spectrograms(None, 1.0))
    whole = split_of(x, *about, torch.tensor([6, 2, 3, 1]))
    task = Task("sounds", whole, split_of(x.clone(), *about, torch.tensor([1, 2, 3, 4])))
    index = torch.tensor([2, 0])
    found = vectors(Hears(), task.train.take(index), Items(torch.arange(2), {}), ["frames"])
    torch.testing.assert_close(found[:, 0], torch.stack([x[2, 0, :, :3].mean(1), x[0, 0, :, :6].mean(1)]))
    found = vectors(Hears(), task.test, Items(torch.arange(4), {}), ["frames"])
    torch.testing.assert_close(found[3, 0], x[3, 0, :, :4].mean(1))


def test_shorter_layers_have_zeros_at_the_end():
    net, x = CNN((1, 8, 8), 3, [4, 5]), torch.randint(0, 256, (7, 1, 8, 8), dtype=torch.uint8)
    split = split_of(x, Normalise(torch.tensor([100.0]), torch.tensor([50.0])))
    found = vectors(net, split, Items(torch.tensor([3, 3, 0]), {}), ["3", "9"])
    assert found.shape == (3, 2, 4 * 4 * 4)
    assert not found[:, 1, 5:].any()
    torch.testing.assert_close(found[0], found[1])


def test_maps_are_made_coarse():
    net, x = CNN((1, 16, 16), 3, [4, 5]), torch.randint(0, 256, (7, 1, 16, 16), dtype=torch.uint8)
    split = split_of(x, Normalise(torch.tensor([100.0]), torch.tensor([50.0])))
    maps = activations(net, split, ["3"])["3"]  # [7, 4, 8, 8]
    found = vectors(net, split, Items(torch.arange(7), {}), ["3"])
    assert found.shape == (7, 1, 64)
    torch.testing.assert_close(found[2, 0, 5], maps[2, 0, 2:4, 2:4].mean())
