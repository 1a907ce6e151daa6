"""Methods that change layers: counts, exactness, and what is left is an ordinary network."""

import copy
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import mlbench as package
from mlbench import structure
from mlbench.compress import prune_neurons
from mlbench.compress.base import Point
from mlbench.compress.low_rank import LowRank, factored
from mlbench.compress.prune_neurons import PruneNeurons, outputs
from mlbench.compress.separable import separated
from mlbench.errors import SettingError
from mlbench.models.convolutional import CNN
from mlbench.models.dense import MLP
from mlbench.models.resnet import ResNet18
from tests.conftest import random_split
from tests.test_compress import points
from tests.test_prune import Bench, network
from tests.test_runs import only_run


def parameters(net):
    return sum(p.numel() for p in net.parameters())


def bench_for(net, shape=(1, 4, 4)):
    bench = Bench(net)
    bench.input_shape = shape
    return bench


@pytest.mark.parametrize(
    ("layer", "before", "after"), [(nn.Conv2d(64, 128, 3), 73_728, 8_768), (nn.Conv2d(3, 8, 5), 600, 99)]
)
def test_separable_counts_are_those_of_the_paper(layer, before, after):
    # Howard et al. 2017: K*K*I*O against K*K*I + I*O; 64 -> 128 channels are the figures of the lecture
    pair = separated(layer)
    assert layer.weight.numel() == before
    assert pair[0].weight.numel() + pair[1].weight.numel() == after


def test_a_convolution_that_is_separable_already_is_met_exactly():
    torch.manual_seed(0)
    depthwise, pointwise = torch.randn(3, 1, 3, 3), torch.randn(6, 3, 1, 1)
    layer = nn.Conv2d(3, 6, 3, stride=2, padding=1)
    with torch.no_grad():
        layer.weight.copy_(pointwise * depthwise[:, 0])
    x = torch.randn(2, 3, 9, 9)
    torch.testing.assert_close(separated(layer)(x), layer(x), rtol=1e-4, atol=1e-5)


def test_factors_are_the_best_of_their_rank():
    torch.manual_seed(0)
    layer = nn.Linear(20, 12)
    pair = factored(layer, 4)
    left, sizes, right = np.linalg.svd(layer.weight.detach().numpy(), full_matrices=False)
    expected = left[:, :4] * sizes[:4] @ right[:4]
    np.testing.assert_allclose((pair[1].weight @ pair[0].weight).detach().numpy(), expected, atol=1e-5)
    assert parameters(pair) == 4 * (20 + 12) + 12


@pytest.mark.parametrize("layer", [nn.Linear(10, 8), nn.Conv2d(3, 8, 3, stride=2, padding=1)])
def test_full_rank_changes_nothing(layer):
    rank = min(layer.weight.flatten(1).shape)
    x = torch.randn(4, 10) if isinstance(layer, nn.Linear) else torch.randn(4, 3, 8, 8)
    torch.testing.assert_close(factored(layer, rank)(x), layer(x), rtol=1e-4, atol=1e-5)


def test_ranks_by_energy_and_by_ratio():
    matrix = torch.diag(torch.tensor([4.0, 2.0, 1.0, 0.5, 0.1]))
    assert LowRank(energy=0.9, ratio=None).rank(matrix) == 2  # 16 of 21.26, then 20
    assert LowRank(energy=1.0, ratio=None).rank(matrix) == 5
    assert LowRank(ratio=0.5).rank(torch.randn(40, 60)) == 12
    net = network([32])
    (point,) = LowRank(ratio=0.5, finetune_epochs=0).compress(Point("dense", net), bench_for(net))
    first = point.net[1]
    assert first[0].weight.numel() + first[1].weight.numel() <= 0.5 * 16 * 32
    for wrong in ({"ratio": None}, {"energy": 0.5}, {"ratio": 1.5}, {"energy": 0.0, "ratio": None}):
        with pytest.raises(SettingError):
            LowRank(**wrong)


def resnet():
    torch.manual_seed(0)
    return ResNet18((3, 8, 8), 5, width=8).eval()


@pytest.mark.parametrize("importance", prune_neurons.IMPORTANCES)
def test_channels_are_really_removed(importance):
    torch.manual_seed(0)
    net = CNN((1, 4, 4), 3, [8, 12])
    method = PruneNeurons(channels=0.5, importance=importance, finetune_epochs=1)
    (point,) = method.compress(Point("dense", net), bench_for(net))
    assert [layer.weight.shape for layer in outputs(point.net)] == [(4, 1, 3, 3), (6, 4, 3, 3), (3, 6)]


def test_what_is_left_computes_what_the_network_without_the_channels_would():
    # independent: set the removed neurons to zero in the network as it was
    net = network([10, 8])
    before = copy.deepcopy(net)
    sizes = [before[place].weight.abs().sum(1) for place in (1, 3)]
    (point,) = PruneNeurons(channels=0.5, finetune_epochs=0).compress(Point("dense", net), bench_for(net))
    with torch.no_grad():
        for place, size in zip((1, 3), sizes, strict=True):
            gone = size.argsort()[: len(size) // 2]
            before[place].weight[gone] = 0
            before[place].bias[gone] = 0
    x = torch.randn(6, 1, 4, 4)
    torch.testing.assert_close(point.net(x), before(x))
    assert point.net[5].weight.shape == (3, 4)


def test_residual_networks_keep_their_outputs_and_their_shapes():
    net = resnet()
    bench, before = bench_for(net, (3, 8, 8)), parameters(net)
    bench.train = random_split(40, shape=(3, 8, 8))
    (point,) = PruneNeurons(channels=0.5, finetune_epochs=0).compress(Point("dense", net), bench)
    assert point.net(torch.randn(2, 3, 8, 8)).shape == (2, 5)
    assert parameters(point.net) == pytest.approx(before / 4, rel=0.03)
    again = resnet()
    structure.restore(again, point.net.replaced)
    again.load_state_dict(point.net.state_dict())
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(again.eval()(x), point.net.eval()(x))


def test_apoz_by_hand():
    net = MLP((1, 4, 4), 3, [6])
    bench = bench_for(net)
    found = prune_neurons.apoz(net, bench, 64)[net[1]]
    x = bench.train.batch(torch.arange(64)).x
    torch.testing.assert_close(found, (net[1](x.flatten(1)) > 0).float().mean(0))


def test_descriptions_make_the_same_layers():
    layers = [
        nn.Conv2d(4, 6, 3, 2, padding=1, bias=False),
        nn.Linear(3, 4),
        nn.BatchNorm2d(5),
        nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 2, 1)),
    ]
    for layer in layers:
        assert repr(structure.make(structure.describe(layer))) == repr(layer)
    with pytest.raises(ValueError, match="ReLU"):
        structure.describe(nn.ReLU())
    with pytest.raises(ValueError, match="Evil"):
        structure.make({"kind": "Evil"})


def test_stages_that_change_layers_can_follow_one_another(mlbench, tmp_path):
    words = ["compress=chain", "compress.stages=[separable,prune_neurons,cluster,huffman]", "model=cnn"]
    assert mlbench(*words, "train.epochs=1", "threads=1", "export=[torch,onnx]")[0] == 0
    folder = only_run(tmp_path / "out")
    rows = points(folder)
    assert [row["stage"] for row in rows][1:] == ["separable", "prune_neurons 0.5", "cluster 5 bits", "huffman"]
    files = {path.name for path in (folder / "artefacts").iterdir()}
    assert {f"point_{step:02d}.{suffix}" for step in range(5) for suffix in ("mlb", "pt2", "onnx")} <= files
    code = (
        "import sys, torch; net = torch.export.load(sys.argv[1]).module(); torch.manual_seed(0);"
        "x = torch.randint(0, 256, (3, 1, 8, 8)).float(); assert 'mlbench' not in sys.modules;"
        "torch.save(net(x).detach(), sys.argv[2])"
    )
    path = folder / "artefacts" / "point_02.pt2"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, str(path), str(tmp_path / "y")], check=True)
    torch.manual_seed(0)
    x = torch.randint(0, 256, (3, 1, 8, 8)).float()
    with torch.no_grad():
        expected = package.load(path.with_suffix(".mlb"))(x)
    torch.testing.assert_close(torch.load(tmp_path / "y"), expected, atol=1e-5, rtol=1e-5)


def test_a_pruned_network_is_a_checkpoint(mlbench, tmp_path):
    assert mlbench("compress=prune_neurons", "train.epochs=1", "threads=1")[0] == 0
    folder = only_run(tmp_path / "out")
    file = folder / "artefacts" / "point_01.mlb"
    assert mlbench("compress=prune_neurons", f"checkpoint={file}", "threads=1")[0] == 0
    (again,) = set((tmp_path / "out").glob("compress/*/*")) - {folder}
    assert points(again)[0]["parameters"] == points(folder)[1]["parameters"]
    assert int(points(again)[1]["parameters"]) < int(points(again)[0]["parameters"])
