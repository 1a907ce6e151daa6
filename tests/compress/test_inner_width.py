"""Neurons inside feed-forward blocks: which pairs of layers are found, and what is left when neurons are removed."""

import pytest
import torch
from torch import nn

from mlbench.compress.base import Point
from mlbench.compress.pruning.inner_width import inner_pairs, remove
from mlbench.compress.pruning.structured import PruneNeurons
from tests.compress.test_unstructured_pruning import Bench
from tests.conftest import random_split
from tests.experiment.test_runs import only_run
from tests.models.test_bert import bert
from tests.techniques import configured

SHAPE = (3, 16, 16)


class Odd(nn.Module):
    """Layers whose widths match and whose neurons cannot be removed: read twice, or mixed in between."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 8)
        self.third, self.last = nn.Linear(8, 8), nn.Linear(8, 3)
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, x):
        hidden = self.first(x.flatten(1)[:, :6]).relu()
        mixed = self.third((self.second(hidden) + hidden).softmax(1)).relu()
        return self.last(mixed) * self.scale


@pytest.fixture
def vit():
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    sizes = {"img_size": 16, "patch_size": 8, "embed_dim": 12, "depth": 2, "num_heads": 2, "num_classes": 4}
    return timm.models.VisionTransformer(**sizes).eval()


def test_the_pairs_of_a_vision_transformer_are_its_feed_forward_blocks(vit):
    found = inner_pairs(vit, torch.randn(2, *SHAPE))
    assert found == [(f"blocks.{k}.mlp.fc1", f"blocks.{k}.mlp.fc2") for k in range(2)]
    assert vit.blocks[0].mlp.fc1.out_features == len(vit.blocks[0].mlp.fc1.weight) == 48  # as it was


def test_the_pairs_of_bert_are_its_feed_forward_blocks_though_values_match_too():
    net = bert()
    layers = [f"language.bert.encoder.layer.{k}" for k in range(2)]
    expected = [(f"{path}.intermediate.dense", f"{path}.output.dense") for path in layers]
    assert inner_pairs(net, torch.randint(5, 50, (2, 7))) == expected


def test_what_is_read_twice_or_mixed_is_no_pair():
    torch.manual_seed(0)
    assert inner_pairs(Odd(), torch.randn(2, *SHAPE)) == [("third", "last")]


def test_a_network_without_neurons_is_one_whose_columns_are_zero(vit):
    keep = torch.tensor([0, 3, 4, 40])
    one, other, x = vit.blocks[1].mlp.fc1, vit.blocks[1].mlp.fc2, torch.randn(2, *SHAPE)
    whole = other.weight.detach().clone()
    with torch.no_grad():
        other.weight.zero_()[:, keep] = whole[:, keep]
        expected = vit(x)
        remove(one, other, keep)
        torch.testing.assert_close(vit(x), expected, atol=1e-5, rtol=1e-5)
    assert (one.out_features, other.in_features, one.bias.shape) == (4, 4, (4,))


def test_the_neurons_with_the_largest_weights_stay(vit):
    torch.manual_seed(0)
    context = Bench(vit)
    context.input_shape, context.train = SHAPE, random_split(20, shape=SHAPE, classes=4)
    before = vit.blocks[0].mlp.fc1.weight.detach().clone()
    points = list(
        configured(PruneNeurons, fraction=0.25, rounds=2, finetune_epochs=0).compress(Point("", vit), context)
    )
    assert [point.stage for point in points] == ["prune_neurons 0.625", "prune_neurons 0.25"]
    kept = before.abs().sum(1).topk(12).indices.sort().values
    torch.testing.assert_close(vit.blocks[0].mlp.fc1.weight, nn.Parameter(before[kept]))


@pytest.mark.usefixtures("same_process")
def test_a_network_for_texts_loses_neurons_and_comes_back_from_its_file(mlbench, tmp_path):
    few = ("data.train_sentences=60", "data.test_sentences=20", "data.validation_sentences=20", "threads=1")
    small = ("model.width=8", "model.depth=1", "model.pretrain_epochs=0", "train.epochs=1")
    code, _, error = mlbench(
        "compress=prune_neurons", "data=grammar", "model=bert", *few, *small, "compress.finetune_epochs=1"
    )
    assert code == 0, error
    assert "stays as it is" in error
    rows = (only_run(tmp_path / "out") / "points.csv").read_text().splitlines()
    names, dense, pruned = (row.split(",") for row in rows)
    place = names.index("parameters")
    assert int(dense[place]) - int(pruned[place]) == 16 * (8 + 1 + 8)  # half of the 32 inner neurons
