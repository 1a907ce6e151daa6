"""Int8 layers against torchao's own, against whole numbers, and through a file."""

import copy
import csv
import logging
import sys

import numpy as np
import pytest
import torch
from torch import nn

import mlbench as package
from mlbench.compress.quantisation.int8 import Int8, fake_quantisation, need_torchao, quantised, round_inputs
from mlbench.core.errors import UserError
from mlbench.data.normalisation import Normalise
from mlbench.models.cnn import CNN
from mlbench.models.int8_linear import Int8Linear, rounded
from mlbench.models.mlp import MLP
from mlbench.models.surgery import describe, make
from mlbench.runs.checkpoint import Trained
from mlbench.runs.codec import container
from tests.techniques import configured

SHAPE = (1, 8, 8)
HIDDEN = [40, 30]


@pytest.fixture(scope="module", autouse=True)
def torchao_is_there():
    pytest.importorskip("torchao")
    need_torchao()


def network():
    torch.manual_seed(0)
    return MLP(SHAPE, 10, HIDDEN, batch_norm=True).eval()


def pictures(count=50):
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(1))


def by_torchao(net, dynamic, reduced=False):
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, Int8WeightOnlyConfig, quantize_

    config = Int8WeightOnlyConfig(set_inductor_config=False)
    if dynamic:
        config = Int8DynamicActivationInt8WeightConfig(set_inductor_config=False, reduce_range=reduced)
    net = copy.deepcopy(net)
    quantize_(net, config)
    return net


@pytest.mark.parametrize("reduced", [False, True])
@pytest.mark.parametrize("dynamic", [False, True])
def test_outputs_are_those_of_torchao_bit_for_bit_also_from_a_file(tmp_path, monkeypatch, dynamic, reduced):
    monkeypatch.setattr("torchao.utils.should_reduce_range", lambda device: reduced)
    net, x = network(), pictures()
    x[3] = 0
    with torch.no_grad():
        expected = by_torchao(net, dynamic, reduced)(x)
        assert not torch.equal(net(x), expected)
        small = quantised(net, dynamic)
        assert torch.equal(small(x), expected)
        model = {"_target_": "mlbench.models.mlp.MLP", "hidden": HIDDEN, "batch_norm": True}
        about = (model, SHAPE, 10, [str(i) for i in range(10)], None, Normalise(torch.zeros(1), torch.ones(1)))
        trained = Trained(small, *about)
        container.write(tmp_path / "net.mlb", trained.packed(), entropy=False)
        trained.save(tmp_path / "net")
        for name in ("net.mlb", "net.safetensors"):
            again = package.load(tmp_path / name)[1]
            assert torch.equal(again(x), expected)
            assert [type(layer) for layer in again] == [type(layer) for layer in small]


def test_the_file_holds_a_byte_for_a_weight():
    net = quantised(nn.Sequential(nn.Linear(300, 400)), True)
    written = len(container.encode({"weights": net.state_dict()}, entropy=False))
    assert 300 * 400 <= written <= 300 * 400 + 400 * 4 * 2 + 300


def test_dynamic_layers_multiply_integers():
    layer = quantised(nn.Sequential(nn.Linear(64, 5)), True)[0]
    x = pictures().flatten(1)
    numbers, sizes = rounded(x, reduced=False)
    whole = numbers.numpy().astype(np.int64) @ layer.qdata.numpy().astype(np.int64).T
    expected = whole * sizes.double().numpy() * layer.scale.double().numpy().T + layer.bias.detach().double().numpy()
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, rtol=1e-5, atol=1e-6)
    layer.dynamic = False
    assert not np.allclose(layer(x).detach().numpy(), expected, rtol=1e-5, atol=1e-6)


def test_quantised_values_are_symmetric_use_all_bits_and_are_at_most_half_a_step_off():
    x = pictures().flatten(1)
    for reduced, high in ((False, 127), (True, 63)):
        numbers, sizes = rounded(x, reduced)
        assert numbers.max() == high
        assert numbers.min() >= -high - 1
        assert ((numbers * sizes - x).abs() <= 0.501 * sizes).all()
    assert not rounded(torch.zeros(2, 4), reduced=False)[0].any()


def test_rows_may_have_more_dimensions_and_layers_no_bias():
    layer = quantised(nn.Sequential(nn.Linear(64, 5, bias=False)), True)[0]
    x = pictures(6).flatten(1)
    assert layer.bias is None
    assert torch.equal(layer(x.view(2, 3, 64)), layer(x).view(2, 3, 5))
    assert make(describe(layer)).bias is None


@pytest.mark.parametrize("dynamic", [False, True])
def test_fake_quantisation_computes_the_same_as_int8_layers(dynamic):
    net, x = network(), pictures()
    expected = quantised(copy.deepcopy(net), dynamic)(x)
    plain = net(x)
    with fake_quantisation(net, dynamic):
        found = net(x)
        found.square().sum().backward()
    assert (found - expected).abs().max() < 0.1 * (plain - expected).abs().max()
    assert all(parameter.grad.any() for name, parameter in net.named_parameters() if "1.bias" not in name)
    assert torch.equal(net(x), plain)
    assert [type(layer) for layer in net] == [type(layer) for layer in network()]


def test_the_gradient_passes_the_rounding_of_inputs_untouched():
    x = pictures(4).flatten(1).requires_grad_()
    out, pull = round_inputs(nn.Identity(), (x,)), torch.randn(4, 64)
    assert len(out[0].unique()) < 64
    assert torch.equal(torch.autograd.grad(out, x, pull)[0], pull)


def test_convolutions_stay_and_a_network_of_nothing_else_is_refused():
    net = quantised(CNN(SHAPE, 10, [4]).eval(), True)
    assert sum(isinstance(layer, nn.Conv2d) for layer in net.modules()) == 1
    assert sum(isinstance(layer, Int8Linear) for layer in net.modules()) == 1
    with pytest.raises(UserError, match="linear layers"):
        configured(Int8).check(nn.Sequential(nn.Conv2d(1, 2, 3)))


def test_gradients_reach_the_input_of_int8_layers_and_do_not_change_their_outputs():
    x = pictures(4)
    dynamic, weights_only = (quantised(network(), kind) for kind in (True, False))
    with torch.no_grad():
        plain = dynamic(x)
    x.requires_grad_()
    answers = dynamic(x)
    assert torch.equal(answers, plain)
    (found,), (expected,) = (torch.autograd.grad(y.sum(), x) for y in (answers, weights_only(x)))
    assert torch.nn.functional.cosine_similarity(found.flatten(), expected.flatten(), 0) > 0.95


@pytest.fixture(scope="module")
def int8_artefact(tmp_path_factory):
    """The file of an int8 network for the digits."""
    net, path = quantised(network(), True), tmp_path_factory.mktemp("int8") / "net.mlb"
    node = {"_target_": "mlbench.models.mlp.MLP", "hidden": HIDDEN, "batch_norm": True}
    normalise = Normalise(torch.zeros(1, 1, 1), torch.ones(1, 1, 1))
    classes = [str(digit) for digit in range(10)]
    container.write(path, Trained(net, node, SHAPE, 10, classes, None, normalise).packed(), False)
    return path


@pytest.mark.parametrize("words", ["prune", "int8", "cluster", "chain", "chain compress.stages=[huffman,prune]"])
def test_int8_layers_are_not_compressed_again(mlbench, tmp_path, int8_artefact, words):
    method, *settings = words.split()
    net = ("model=mlp", f"model.hidden={HIDDEN}".replace(" ", ""), "model.batch_norm=true")
    code, _, error = mlbench(f"compress={method}", *settings, *net, f"checkpoint={int8_artefact}")
    assert (code, len(error.splitlines()), (tmp_path / "out").exists()) == (2, 1, False), error
    assert f"compress={method} changes the weights" in error


def test_an_int8_network_can_be_explained_by_gradients(mlbench, int8_artefact):
    net = ("model=mlp", f"model.hidden={HIDDEN}".replace(" ", ""), "model.batch_norm=true", "threads=1")
    code, _, error = mlbench("explain=saliency", "explain.samples=4", *net, f"checkpoint={int8_artefact}")
    assert code == 0, error


def test_the_error_without_torchao_names_the_package_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchao.prototype.qat", None)
    with pytest.raises(UserError, match=r"mlbench\[compress\]") as error:
        configured(Int8, mode="dynamic", finetune_epochs=0).check(network())
    assert "\n" not in str(error.value)
    assert logging.getLogger("torch.utils._pytree").level == logging.NOTSET


def test_a_run_measures_int8_from_its_file_in_another_process(mlbench, tmp_path):
    words = ("compress=int8", "model.hidden=[40]", "train.epochs=5", "compress.finetune_epochs=2", "threads=1")
    code, _, error = mlbench(*words)
    assert code == 0, error
    assert "deprecated" not in error
    (folder,) = (path.parent for path in tmp_path.glob("out/compress/*/*/summary.json"))
    dense, plain, trained = csv.DictReader((folder / "points.csv").read_text().splitlines())
    for row in (plain, trained):
        assert abs(float(row["accuracy"]) - float(dense["accuracy"])) < 0.02
        assert float(row["macs"]) == float(dense["macs"]) == 64 * 40 + 40 * 10
        assert int(row["parameters"]) == int(dense["parameters"]) + 50  # scales
    layers = list(csv.DictReader((folder / "layers.csv").read_text().splitlines()))
    assert [row["kind"] for row in layers] == ["Linear"] * 2 + ["Int8Linear"] * 2
    assert float(layers[2]["macs"]) == 64 * 40
    files = [folder / "artefacts" / f"point_0{step}.mlb" for step in (1, 2)]
    assert files[0].read_bytes() != files[1].read_bytes()
