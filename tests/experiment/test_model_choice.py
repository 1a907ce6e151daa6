"""Networks from other libraries and of one's own, with their weights: the same answers as these libraries give."""

import json
import runpy

import numpy as np
import pytest
import torch
from PIL import Image

import mlbench as mlbench_package
from tests.experiment.test_runs import only_run, summary

NETS = """
from torch import nn

def make(width: int = 4):
    layers = [nn.Conv2d(1, width, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10)]
    return nn.Sequential(*layers)

class Small(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 4, 3), nn.Linear(4, outputs)

    def forward(self, x):
        return self.head(self.conv(x).relu().mean((2, 3)))

def text():
    return "no network"
"""
QUICK = ("train.epochs=0", "threads=1")


@pytest.fixture
def photo(tmp_path):
    """A picture of 40x30 pixels."""
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def own(tmp_path):
    """The words for networks of one's own."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "ownnets.py").write_text(NETS)
    return ("--config-dir", str(tmp_path / "mine"), "model=own")


def explained(mlbench, tmp_path, photo, *words):
    """The network of a run that explains a photograph, in eval mode with its preprocessing."""
    words = ("explain=saliency", "explain.scores=none", "data=photos", f"data.path={photo}", *words)
    code, _, error = mlbench(*words, "threads=1")
    assert code == 0, error
    assert summary(only_run(tmp_path / "out"))["costs"]["train_seconds"] == 0
    return mlbench_package.load(only_run(tmp_path / "out"), tmp_path / "mine")


def test_torchvisions_network_answers_as_in_torchvision(mlbench, tmp_path, photo):
    models = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    theirs = models.mobilenet_v3_small().eval()
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    words = ("model=torchvision", "model.name=mobilenet_v3_small", f"model.weights={tmp_path / 'theirs.pth'}")
    net = explained(mlbench, tmp_path, photo, *words)
    weights = models.MobileNet_V3_Small_Weights.IMAGENET1K_V1
    assert net.classes == weights.meta["categories"]
    picture = net.preprocess(photo)
    assert picture.shape == (1, 3, 224, 224)
    about = weights.transforms()
    mean, std = (torch.tensor(values)[:, None, None] for values in (about.mean, about.std))
    torch.testing.assert_close(net(picture), theirs((picture / 255 - mean) / std), rtol=1e-4, atol=1e-5)


def test_timms_network_answers_as_in_timm(mlbench, tmp_path, photo):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    theirs = timm.create_model("vit_tiny_patch16_224", img_size=64, num_classes=1000).eval()
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    words = ("model=timm", "model.name=vit_tiny_patch16_224", "model.size=64")
    net = explained(mlbench, tmp_path, photo, *words, f"model.weights={tmp_path / 'theirs.pth'}")
    picture = net.preprocess(photo)
    config = theirs.pretrained_cfg
    mean, std = (torch.tensor(config[name])[:, None, None] for name in ("mean", "std"))
    torch.testing.assert_close(net(picture), theirs((picture / 255 - mean) / std), rtol=1e-4, atol=1e-5)
    assert net.classes[281] == "tabby"


def test_a_folder_of_hugging_face_answers_as_in_transformers(mlbench, tmp_path, photo):
    transformers = pytest.importorskip("transformers")
    names = {0: "cat", 1: "dog", 2: "cow"}
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.ViTConfig(
        **sizes, image_size=32, patch_size=8, id2label=names, label2id={name: k for k, name in names.items()}
    )
    torch.manual_seed(0)
    theirs = transformers.ViTForImageClassification(config).eval()
    theirs.save_pretrained(tmp_path / "vit")
    about = {"size": {"height": 32, "width": 32}, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4]}
    (tmp_path / "vit" / "preprocessor_config.json").write_text(json.dumps(about))
    net = explained(mlbench, tmp_path, photo, "model=huggingface", f"model.name={tmp_path / 'vit'}")
    assert net.classes == ["cat", "dog", "cow"]
    picture = net.preprocess(photo)
    mean, std = (torch.tensor(about[name])[:, None, None] for name in ("image_mean", "image_std"))
    torch.testing.assert_close(net(picture), theirs((picture / 255 - mean) / std).logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("given", "outputs"), [("model.weights", 10), ("checkpoint", 10), ("model.weights", 7)])
def test_outputs_for_as_many_classes_as_the_data_has_are_kept_and_others_drawn(mlbench, tmp_path, given, outputs):
    models = pytest.importorskip("torchvision.models")
    theirs = models.mobilenet_v3_small(num_classes=outputs).state_dict()
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in theirs.items()}}, tmp_path / "x.pth")
    words = ("model=torchvision", "model.name=mobilenet_v3_small", f"{given}={tmp_path / 'x.pth'}", "data=digits")
    code, _, error = mlbench(*words, "data.test_examples=50", *QUICK)
    assert code == 0, error
    net = mlbench_package.load(only_run(tmp_path / "out"))[1].net
    assert torch.equal(net.classifier[0].weight, theirs["classifier.0.weight"])
    assert net.classifier[3].weight.shape == (10, 1024)
    assert torch.equal(net.classifier[3].weight, theirs["classifier.3.weight"]) == (outputs == 10)


def test_networks_of_other_weights_are_not_taken_from_the_store(mlbench, tmp_path, own):
    """A new last layer is trained once for each file, whichever setting names it."""
    words = (*own, "model._target_=ownnets.Small", "explain=saliency", "explain.scores=none", "explain.samples=1")
    words += ("data=digits", "data.train_examples=40", "data.test_examples=20", "train.epochs=1", "threads=1")
    small = runpy.run_path(str(tmp_path / "mine" / "ownnets.py"))["Small"]
    for number, setting in enumerate(("checkpoint", "checkpoint", "model.weights")):
        torch.save(small(7).state_dict(), tmp_path / f"{number}.pth")
        code, _, error = mlbench(*words, f"{setting}={tmp_path / str(number)}.pth")
        assert code == 0, error
        assert "is trained once and kept as" in error


@pytest.mark.parametrize("target", ["make", "Small"])
def test_a_function_or_class_of_ones_own_gets_what_it_takes(mlbench, tmp_path, own, target):
    """`make` takes no number of outputs: it has ten, and for two classes gets a new last layer."""
    for number in range(24):
        path = tmp_path / "photos" / ("train", "test")[number // 16] / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), 9 * number, np.uint8)).save(path)
    folder = ("data=image_folder", f"data.path={tmp_path / 'photos'}", "data.grey=true", f"data_dir={tmp_path}")
    for kept, data in ((True, ("data=digits",)), (False, folder)):
        nets = runpy.run_path(str(tmp_path / "mine" / "ownnets.py"))
        theirs = nets["make"]() if target == "make" else nets["Small"](10)
        torch.save(theirs.state_dict(), tmp_path / "own.pth")
        about = (*own, f"model._target_=ownnets.{target}", f"model.weights={tmp_path / 'own.pth'}", *data)
        code, _, error = mlbench(*about, *QUICK, f"out={tmp_path / data[0]}", out=False)
        assert code == 0, error
        net = mlbench_package.load(only_run(tmp_path / data[0]), tmp_path / "mine")
        inner, first = net[1].state_dict(), next(iter(theirs.state_dict()))
        assert torch.equal(inner[first], theirs.state_dict()[first])
        assert (len(net.classes) == 10) == kept
        if kept:
            picture = torch.randint(0, 256, (2, 1, 8, 8), dtype=torch.uint8)
            torch.testing.assert_close(net(picture), theirs(net[0](picture)))


@pytest.mark.usefixtures("same_process")
def test_such_networks_are_compressed_and_are_students(mlbench, tmp_path, own):
    """What a node says of weights and sizes builds nothing; a student begins anew."""
    few = ("data=digits", "data.train_examples=60", "data.test_examples=40", "train.epochs=1", "threads=1")
    student = ("model@compress.student=own", "compress.student._target_=ownnets.Small", "compress.finetune_epochs=1")
    words = (*own, "model._target_=ownnets.make", "model.size=8", *few, "compress=distill", *student)
    code, _, error = mlbench(*words)
    assert code == 0, error
    (last,) = (tmp_path / "out").glob("compress/*/*/checkpoints/model.safetensors")
    assert type(mlbench_package.load(last, tmp_path / "mine")[1]).__name__ == "Small"
    code, _, error = mlbench(*words, "compress.student.weights=x.pth")
    assert (code, "compress.student.weights means nothing here" in error) == (2, True)


def test_what_is_no_network_is_told(mlbench, own):
    code, _, error = mlbench(*own, "model._target_=ownnets.text", "data=digits")
    assert (code, error.splitlines()[0]) == (
        2,
        "mlbench: model (text): returns a str, not a torch.nn.modules.module.Module",
    )


def test_photographs_need_to_know_how_they_are_normalised(mlbench, tmp_path, own, photo):
    torch.save(runpy.run_path(str(tmp_path / "mine" / "ownnets.py"))["make"]().state_dict(), tmp_path / "own.pth")
    words = (*own, "model._target_=ownnets.make", f"model.weights={tmp_path / 'own.pth'}")
    code, _, error = mlbench(*words, "explain=saliency", "data=photos", f"data.path={photo}")
    assert code == 2
    assert "set model.mean and model.std" in error
    about = ("model.mean=[10]", "model.std=[100]", "model.size=16", "model.classes=[a,b,c,d,e,f,g,h,i,j]")
    code, _, error = mlbench(*words, *about[:3], "model.classes=[a,b]", "explain=saliency", "data=photos")
    assert (code, "model.classes has 2 names" in error) == (2, True)
    net = explained(mlbench, tmp_path, photo, *words, *about)
    assert net.classes == list("abcdefghij")
    assert net.preprocess(photo).shape == (1, 1, 16, 16)


def test_a_network_trained_here_explains_a_photograph_with_its_own_classes(mlbench, tmp_path, photo):
    words = ("data=digits", "model=cnn", "train.epochs=1", "data.train_examples=100", "threads=1")
    code, _, error = mlbench(*words, f"out={tmp_path / 'trained'}", out=False)
    assert code == 0, error
    run = only_run(tmp_path / "trained")
    net = explained(mlbench, tmp_path, photo, "model=cnn", f"checkpoint={run}")
    first = mlbench_package.load(run)
    assert net.classes == first.classes
    assert net.preprocess(photo).shape == (1, 1, 8, 8)
    picture = net.preprocess(photo)
    torch.testing.assert_close(net(picture), first(picture))


def test_a_file_of_another_network_of_torchvision_is_recognised(mlbench, tmp_path):
    models = pytest.importorskip("torchvision.models")
    torch.save(models.alexnet(num_classes=3).state_dict(), tmp_path / "x.pth")
    code, _, error = mlbench("model=cnn", "data=digits", f"checkpoint={tmp_path / 'x.pth'}")
    assert code == 2
    assert error.splitlines()[-1] == "it fits model=torchvision model.name=alexnet"
