"""Compressed networks for other programs: one file, the same outputs, and a clear word where that fails."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import mlbench as package
from mlbench.compress.base import Point
from mlbench.compress.measurement import export as exporting
from mlbench.compress.measurement.export import export
from mlbench.compress.pruning.structured import PruneNeurons
from mlbench.core.errors import RunError, UserError
from mlbench.data.modality import Tables
from mlbench.data.normalisation import Normalise
from mlbench.models.resnet import ResNet18
from mlbench.runs.checkpoint import Trained
from mlbench.runs.codec import container
from tests.compress.test_unstructured_pruning import Bench
from tests.conftest import random_split
from tests.techniques import configured

SHAPE = (3, 32, 32)
ELSEWHERE = {
    "torch": "import torch; net = torch.export.load(sys.argv[1]).module();"
    "y = net(torch.from_numpy(x)).detach().numpy()",
    "onnx": "import onnxruntime; net = onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider']);"
    "y = net.run(None, {net.get_inputs()[0].name: x})[0]",
}


@pytest.fixture(scope="module")
def pruned(tmp_path_factory):
    """The file of a ResNet-18 with half its channels."""
    torch.manual_seed(0)
    net = ResNet18(SHAPE, 100, width=8)
    context = Bench(net)
    context.input_shape, context.train = SHAPE, random_split(40, shape=SHAPE)
    (point,) = configured(PruneNeurons, fraction=0.5, finetune_epochs=0).compress(Point("dense", net), context)
    return written(point.net, tmp_path_factory.mktemp("artefacts"))


def written(net, folder):
    node = {"_target_": "mlbench.models.resnet.ResNet18", "width": 8}
    normalise = Normalise(torch.full((3,), 128.0), torch.full((3,), 64.0))
    trained = Trained(net, node, SHAPE, 100, [str(i) for i in range(100)], None, normalise)
    container.write(folder / "point_01.mlb", trained.packed(), entropy=False)
    return folder / "point_01.mlb"


@pytest.mark.parametrize("form", exporting.FORMS)
def test_the_exported_network_has_the_same_outputs(pruned, tmp_path, form):
    target = export(form, pruned, SHAPE)
    assert {path.name for path in pruned.parent.glob("*")} <= {"point_01.mlb", "point_01.pt2", "point_01.onnx"}
    alone = tmp_path / target.name  # nothing else is needed
    alone.write_bytes(target.read_bytes())
    draws = np.random.default_rng(0)
    inputs = {str(n): draws.integers(0, 256, (n, *SHAPE)).astype(np.float32) for n in (1, 2, 5)}
    np.savez(tmp_path / "x.npz", **inputs)
    code = (
        "import sys, numpy as np\nfound = {}\nfor n, x in np.load(sys.argv[2]).items():\n"
        f"    {ELSEWHERE[form]}; found[n] = y\n"
        "assert not any(name.split('.')[0] == 'mlbench' for name in sys.modules)\nnp.savez(sys.argv[3], **found)"
    )
    words = [sys.executable, "-W", "ignore", "-c", code, str(alone), str(tmp_path / "x.npz"), str(tmp_path / "y.npz")]
    subprocess.run(words, check=True, cwd=tmp_path)
    net, found = package.load(pruned), np.load(tmp_path / "y.npz")
    for n, x in inputs.items():
        with torch.no_grad():
            np.testing.assert_allclose(found[n], net(torch.from_numpy(x)).numpy(), atol=1e-5, rtol=0)


def test_an_onnx_file_says_what_it_takes_and_gives(pruned):
    import onnxruntime

    session = onnxruntime.InferenceSession(export("onnx", pruned, SHAPE), providers=["CPUExecutionProvider"])
    (given,), (found,) = session.get_inputs(), session.get_outputs()
    assert (given.name, found.name) == ("input", "output")
    assert (given.shape, found.shape) == (["batch", *SHAPE], ["batch", 100])
    about = session.get_modelmeta().custom_metadata_map
    told = {name: json.loads(about[name]) for name in ("classes", "mean", "std", "input_range", "input_shape")}
    assert told == {
        "classes": [str(i) for i in range(100)],
        "mean": [128.0] * 3,
        "std": [64.0] * 3,
        "input_range": [0.0, 255.0],
        "input_shape": list(SHAPE),
    }
    assert "pictures, float32 [batch, 3, 32, 32], values from 0 to 255" in about["input"]
    assert "softmax" in about["output"]


def test_a_network_takes_a_file_that_pillow_has_read(pruned, tmp_path):
    """In onnxruntime, with what the metadata say and nothing else; values of 0 to 1, as many programs have them."""
    import onnxruntime

    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 32, 3), np.uint8)).save(tmp_path / "a.png")
    target = export("onnx", pruned, SHAPE, largest=1)
    session = onnxruntime.InferenceSession(target, providers=["CPUExecutionProvider"])
    about = {
        name: json.loads(value)
        for name, value in session.get_modelmeta().custom_metadata_map.items()
        if name not in ("input", "output")
    }
    assert (about["input_range"], about["mean"], about["std"]) == ([0, 1], [128 / 255] * 3, [64 / 255] * 3)
    picture = Image.open(tmp_path / "a.png").crop((0, 4, 32, 36))
    x = np.asarray(picture, np.float32).transpose(2, 0, 1)[None] / 255 * about["input_range"][1]
    logits = session.run(["output"], {"input": x})[0][0]
    ((best, share),) = package.load(pruned).predict(tmp_path / "a.png", top=1)[0]
    assert about["classes"][logits.argmax()] == best
    assert np.exp(logits - np.logaddexp.reduce(logits)).max() == pytest.approx(share, abs=1e-4)
    ((again, near),) = package.load(target).predict(tmp_path / "a.png", top=1)[0]
    assert (again, near) == (best, pytest.approx(share, abs=1e-4))


def test_a_program_says_what_it_takes_and_is_asked_like_a_network(pruned, tmp_path):
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8)).save(tmp_path / "a.png")
    for largest in (255, 1):
        net = package.load(export("torch", pruned, SHAPE, largest=largest))
        assert net.classes == [str(i) for i in range(100)]
        found, expected = (each.predict(tmp_path / "a.png")[0] for each in (net, package.load(pruned)))
        assert [name for name, _ in found] == [name for name, _ in expected]
        assert [share for _, share in found] == pytest.approx([share for _, share in expected], abs=1e-5)


def test_a_table_has_no_range_of_values():
    about = {"input_shape": [2], "classes": ["a"], "mean": torch.zeros(1, 2), "std": torch.ones(1, 2)}
    told = exporting.description(about, Tables(("x", "y")))
    assert "values as they stand in the table" in told["input"]
    assert ("input_range" in told, told["mean"]) == (False, [0.0, 0.0])


@pytest.mark.parametrize("wrong", [1.0, float("nan")])
def test_deviating_outputs_are_an_error_and_leave_no_file(pruned, monkeypatch, wrong):
    write, read, suffix = (
        lambda net, x, target, about: target.touch(),
        lambda target, x: torch.full((2, 100), wrong),
        ".bad",
    )
    monkeypatch.setitem(exporting.FORMS, "torch", (write, read, suffix))
    with pytest.raises(RunError, match="other outputs"):
        export("torch", pruned, SHAPE)
    assert not pruned.with_suffix(suffix).exists()


def test_a_failed_export_is_reported_in_one_line(pruned, monkeypatch):
    def write(net, x, target, about):
        target.write_bytes(b"half")
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setitem(exporting.FORMS, "onnx", (write, None, ".bad"))
    with pytest.raises(RunError, match=r"^point_01.mlb cannot be exported as onnx: first line$"):
        export("onnx", pruned, SHAPE)
    assert not pruned.with_suffix(".bad").exists()


def test_a_missing_package_is_reported_in_one_line(pruned, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setitem(
        exporting.FORMS, "onnx", (lambda net, x, target, about: target.touch(), exporting.run_onnx, ".bad")
    )
    with pytest.raises(UserError, match=r"^export=onnx needs the package onnxruntime.*mlbench\[export\]'$"):
        export("onnx", pruned, SHAPE)
    assert not pruned.with_suffix(".bad").exists()


def test_export_does_not_change_the_artefact(pruned):
    before = pruned.read_bytes()
    export("torch", pruned, SHAPE)
    assert pruned.read_bytes() == before
    assert isinstance(package.load(pruned), nn.Sequential)


def test_a_network_in_onnx_is_loaded_like_any_other(pruned, tmp_path):
    target = export("onnx", pruned, SHAPE)
    ours, theirs = package.load(pruned), package.load(target)
    assert theirs.classes == ours.classes
    pictures = torch.randint(0, 256, (3, *SHAPE), dtype=torch.uint8)
    torch.testing.assert_close(theirs(pictures), ours(pictures), rtol=1e-4, atol=1e-4)
    photo = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    assert [name for name, _ in theirs.predict(photo, top=3)[0]] == [name for name, _ in ours.predict(photo, top=3)[0]]
    with pytest.raises(UserError, match="examples of 3x32x32"):
        theirs.predict(torch.zeros(1, 3, 8, 8))


def test_other_files_of_onnx_are_refused_in_two_lines(pruned, tmp_path):
    onnx = pytest.importorskip("onnx")
    target = export("onnx", pruned, SHAPE)
    (tmp_path / "cut.onnx").write_bytes(target.read_bytes()[:5000])
    with pytest.raises(UserError, match="cannot be run: damaged"):
        package.load(tmp_path / "cut.onnx")
    model = onnx.load(target)
    for about in ({}, {"input_shape": "[3, -1, 2]", "classes": "[]"}, {"input_shape": "[" * 9000, "classes": "[]"}):
        del model.metadata_props[:]
        onnx.helper.set_model_props(model, about)
        onnx.save(model, tmp_path / "other.onnx")
        with pytest.raises(UserError, match="does not say in its metadata"):
            package.load(tmp_path / "other.onnx")
