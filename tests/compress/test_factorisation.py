"""Methods that change layers: counts, exactness, and what is left is an ordinary network."""

import numpy as np
import pytest
import torch
from torch import nn

from mlbench.compress.base import Point
from mlbench.compress.factorisation.low_rank import LowRank, factorised
from mlbench.compress.factorisation.separable import Separable, separated
from mlbench.compress.pruning.structured import outputs
from mlbench.core.errors import SettingError
from mlbench.models import surgery
from mlbench.models.cnn import CNN
from tests.compress.test_runner import points
from tests.compress.test_unstructured_pruning import Bench, network
from tests.experiment.test_runs import only_run
from tests.techniques import configured


def parameters(net):
    return sum(p.numel() for p in net.parameters())


def bench_for(net, shape=(1, 4, 4)):
    context = Bench(net)
    context.input_shape = shape
    return context


@pytest.mark.parametrize(
    ("layer", "before", "after"), [(nn.Conv2d(64, 128, 3), 73_728, 8_768), (nn.Conv2d(3, 8, 5), 600, 99)]
)
def test_separable_counts_are_those_of_the_paper(layer, before, after):
    # Howard et al. 2017: K*K*I*O against K*K*I + I*O; 64 -> 128 channels are the figures of the lecture
    pair = separated(layer)
    assert layer.weight.numel() == before
    assert pair[0].weight.numel() + pair[1].weight.numel() == after


def test_a_convolution_that_is_already_separable_is_reproduced_exactly():
    torch.manual_seed(0)
    depthwise, pointwise = torch.randn(3, 1, 3, 3), torch.randn(6, 3, 1, 1)
    layer = nn.Conv2d(3, 6, 3, stride=2, padding=1)
    with torch.no_grad():
        layer.weight.copy_(pointwise * depthwise[:, 0])
    x = torch.randn(2, 3, 9, 9)
    torch.testing.assert_close(separated(layer)(x), layer(x), rtol=1e-4, atol=1e-5)


def test_separable_is_the_best_rank_one_approximation_of_each_input_channel():
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 6, 3)
    depthwise, pointwise = (part.weight.detach().numpy() for part in separated(layer))
    for channel, filters in enumerate(layer.weight.detach().numpy().transpose(1, 0, 2, 3)):
        left, sizes, right = np.linalg.svd(filters.reshape(6, 9), full_matrices=False)
        found = np.outer(pointwise[:, channel], depthwise[channel])
        np.testing.assert_allclose(found, sizes[0] * np.outer(left[:, 0], right[0]), atol=1e-5)


def test_only_convolutions_that_become_smaller_are_replaced_and_can_be_rebuilt():
    torch.manual_seed(0)
    net = CNN((1, 4, 4), 3, [8, 12])
    (point,) = configured(Separable, finetune_epochs=1).compress(Point("dense", net), bench_for(net))
    # one input channel: 9 * 8 weights against 9 + 8; the second 9 * 8 * 12 against 9 * 8 + 8 * 12
    assert [m.weight.numel() for m in outputs(point.net)] == [9, 8, 72, 96, 36]
    again = CNN((1, 4, 4), 3, [8, 12])
    surgery.restore(again, point.net.replaced)
    again.load_state_dict(point.net.state_dict())
    x = torch.randn(2, 1, 4, 4)
    again = again.eval().to(memory_format=torch.channels_last)  # as a fit leaves it: sums are rounded alike
    assert torch.equal(again(x), point.net(x))


def test_factors_are_the_best_of_their_rank():
    torch.manual_seed(0)
    layer = nn.Linear(20, 12)
    pair = factorised(layer, 4)
    left, sizes, right = np.linalg.svd(layer.weight.detach().numpy(), full_matrices=False)
    expected = left[:, :4] * sizes[:4] @ right[:4]
    np.testing.assert_allclose((pair[1].weight @ pair[0].weight).detach().numpy(), expected, atol=1e-5)
    assert parameters(pair) == 4 * (20 + 12) + 12


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(10, 8),
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.Conv2d(3, 8, 3, padding="same", padding_mode="reflect", dilation=2, bias=False),
    ],
    ids=repr,
)
def test_full_rank_changes_nothing(layer):
    rank = min(layer.weight.flatten(1).shape)
    x = torch.randn(4, 10) if isinstance(layer, nn.Linear) else torch.randn(4, 3, 8, 8)
    torch.testing.assert_close(factorised(layer, rank)(x), layer(x), rtol=1e-4, atol=1e-5)


def test_ranks_by_energy_and_by_fraction():
    matrix = torch.diag(torch.tensor([4.0, 2.0, 1.0, 0.5, 0.1]))
    assert configured(LowRank, energy=0.9, fraction=None).rank(matrix) == 2  # 16 of 21.26, then 20
    assert configured(LowRank, energy=1.0, fraction=None).rank(matrix) == 5
    assert configured(LowRank, fraction=0.5).rank(torch.randn(40, 60)) == 12
    net = network([32])
    (point,) = configured(LowRank, fraction=0.5, finetune_epochs=0).compress(Point("dense", net), bench_for(net))
    first = point.net[1]
    assert first[0].weight.numel() + first[1].weight.numel() <= 0.5 * 16 * 32
    for wrong in ({"fraction": None}, {"energy": 0.5}, {"fraction": 1.5}, {"energy": 0.0, "fraction": None}):
        with pytest.raises(SettingError):
            configured(LowRank, **wrong)


@pytest.mark.usefixtures("same_process")
def test_stages_that_change_layers_can_follow_one_another_and_any_point_is_a_checkpoint(mlbench, tmp_path):
    shared = ("model=cnn", "threads=1", "train.epochs=1")
    words = ["compress=chain", "compress.stages=[separable,low_rank,prune_neurons,huffman]", "export=[torch]"]
    assert mlbench(*words, *shared)[0] == 0
    folder = only_run(tmp_path / "out")
    rows = points(folder)
    assert [row["stage"] for row in rows][1:] == ["separable", "low_rank", "prune_neurons 0.5", "huffman"]
    sizes = [int(row["parameters"]) for row in rows]
    assert sizes[0] > sizes[1] > sizes[2] > sizes[3] == sizes[4]
    files = {path.name for path in (folder / "artefacts").iterdir()}
    assert files == {f"point_{step:02d}.{suffix}" for step in range(5) for suffix in ("mlb", "pt2")}
    assert mlbench("compress=measure", f"checkpoint={folder / 'artefacts' / 'point_03.mlb'}", *shared)[0] == 0
    (again,) = set((tmp_path / "out").glob("compress/*/*")) - {folder}
    (row,) = points(again)
    same = ("accuracy", "parameters", "nonzero", "macs")
    assert [row[name] for name in same] == [rows[3][name] for name in same]
