"""Whole explanation runs: what they leave, and that every method plays by the same rules."""

import csv

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from mlbench.core.config_groups import entries
from mlbench.explain.base import untouched
from tests.experiment.test_runs import folders, only_run, summary
from tests.techniques import composed

METHODS = sorted(entries("explain"))
PICTURES = dict.fromkeys(("probe", "invert"), ("data=digits", "model=cnn"))  # made for texts and sounds as well
FEW = {"samples": 16, "train_samples": 300, "epochs": 2, "judge_epochs": 1, "steps": 32, "perturbations": 50}
TEXTS = ("data=grammar", "data.train_sentences=60", "data.test_sentences=20", "data.validation_sentences=20")
OWN_NETWORK = {"rollout": (*TEXTS, "model=bert", "model.width=16", "model.pretrain_epochs=0")}  # it needs attention
TRAINING = ("train.epochs=2", "train.batch_size=64", "threads=1")
SMALL = (*TRAINING, "model.channels=[4,6]")


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_conforms(mlbench, tmp_path, monkeypatch, request, method):
    """The suite that any method found in conf/explain must pass on the 8x8 digits: the network is left as it was."""
    from mlbench.explain.runner import Explain

    dense, kept = Explain.dense, {}

    def watched(job):
        net = dense(job)
        kept.update(net=net, state={name: tensor.clone() for name, tensor in net.state_dict().items()})
        kept["gradients"] = [parameter.grad for parameter in net.parameters()]
        return net

    monkeypatch.setattr(Explain, "dense", watched)
    own = composed("explain", method)
    few = [f"explain.{name}={count}" for name, count in FEW.items() if name in own]
    words = (f"explain={method}", *PICTURES.get(method, ()), *few, *TRAINING, *OWN_NETWORK.get(method, SMALL))
    code, text, error = mlbench(*words)
    assert code == 0, error
    folder = only_run(tmp_path / "out")
    found = summary(folder)
    assert (found["family"], found["technique"]) == ("explain", method)
    assert str(folder) in text
    assert 0 < found["metrics"]["accuracy"] <= 1
    assert all(np.isfinite(value) for value in found["metrics"].values())
    assert {"train_seconds", "explain_seconds", "parameters", "samples_processed"} <= set(found["costs"])
    assert set(found["headlines"]) & set(found["metrics"]) - {"accuracy"}, "tables would not show what it is about"
    assert list((folder / "figures").glob("*.png"))
    net, state = kept["net"], kept["state"]
    assert all(torch.equal(tensor, state[name]) for name, tensor in net.state_dict().items())
    assert not any(module.training for module in net.modules())
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert all(p.grad is before for p, before in zip(net.parameters(), kept["gradients"], strict=True))
    assert not any(module._forward_hooks or module._backward_hooks for module in net.modules())
    first = {path.name: path.read_text() for path in folder.glob("*.csv")}
    request.getfixturevalue("undrawn")
    assert mlbench(*words)[0] == 0
    (again,) = set(folders(tmp_path / "out")) - {folder}
    for name, content in first.items():
        rows = csv.DictReader(content.splitlines())
        assert [without_clocks(row) for row in table(again / name)] == [without_clocks(row) for row in rows]


def without_clocks(row):
    return {name: value for name, value in row.items() if "seconds" not in name}


def test_what_a_run_of_maps_leaves(mlbench, tmp_path):
    code, _, error = mlbench("explain=saliency", "data=planted", "explain.samples=20", *SMALL)
    assert code == 0, error
    folder = only_run(tmp_path / "out")
    metrics = summary(folder)["metrics"]
    scores = {"deletion_auc", "insertion_auc", "pointing", "top25_share", "sparsity", "infidelity", "sensitivity"}
    scores |= {"randomisation_rho", "randomisation_abs_rho", "randomisation_passed"}
    for control in ("random", "edges", "input", "wrong_class"):
        assert {f"control_{control}_{name}" for name in scores} <= set(metrics)
    assert scores | {"seconds_per_image", "clean_accuracy"} <= set(metrics)
    names = {"saliency", "random", "edges", "input", "wrong_class"}
    assert {row["map"] for row in table(folder / "scores.csv")} == names
    with np.load(folder / "artefacts" / "maps.npz", allow_pickle=False) as file:
        assert file["maps"].shape == (20, 1, 8, 8)
        assert file["maps"].min() < 0 < file["maps"].max()  # raw and signed
        assert file["truth"].sum((1, 2)).tolist() == [9] * 20
    figures = {path.stem for path in (folder / "figures").glob("*.png")}
    assert figures == {"maps", "classes", "deletion", "insertion", "randomisation"}


def disturb(net):
    assert not any(module.training for module in net)
    net.train()
    net(torch.randn(8, 3)).sum().backward()
    net[0].weight.requires_grad_(True)
    net[2].register_forward_pre_hook(lambda *_: None)
    net[1].register_full_backward_hook(lambda *_: None)
    raise ZeroDivisionError


def test_the_network_is_left_as_it_was_also_after_an_error():
    net = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout())
    net[1].eval()
    net[0].weight.requires_grad_(False)
    hook = net[0].register_forward_hook(lambda *_: None)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    with pytest.raises(ZeroDivisionError), untouched(net):
        disturb(net)
    assert [module.training for module in net] == [True, False, True]
    assert [p.requires_grad for p in net.parameters()] == [False, True, True, True]
    assert all(p.grad is None for p in net.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert list(net[0]._forward_hooks) == [hook.id]
    assert not net[2]._forward_pre_hooks
    assert not net[1]._backward_hooks


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["explain=saliency", "explain.samples=0"], ["samples", "1 or more"]),
        (["explain=saliency", "explain.target=10"], ["target", "0 to 9"]),
        (["explain=saliency", "explain.images=nowhere"], ["nowhere", "does not exist"]),
        (["explain=saliency", "data=split_digits"], ["stream of tasks"]),
        (["explain=smoothgrad", "explain.moment=squar"], ["did you mean 'square'"]),
        (["explain=occlusion", "explain.stride=4"], ["stride", "no pixel is left out"]),
        (["explain=filters", "explain.layer='2'", "explain.unit=999"], ["explain.unit=999", "units 0 to"]),
        (["explain=maximise", "explain.layer='2'", "explain.unit=999"], ["explain.unit=999", "units 0 to"]),
        (["explain=probe", "data=digits", "model=cnn", "data.train_examples=1"], ["explain=probe", "2 or more"]),
        (["explain=salienc"], ["did you mean 'saliency'"]),
        (["explain=saliency", "data=planted", "data.share=.5"], ["share", "label=texture"]),
        (["explain=saliency", "data=planted", "data.size=9"], ["size", "8 pixels"]),
    ],
)
def test_mistakes_get_short_answers_and_leave_nothing(mlbench, tmp_path, words, parts):
    code, _, error = mlbench(*SMALL, *words)
    assert code == 2, error
    assert len(error.strip().splitlines()) <= 2
    for part in parts:
        assert part in error
    assert not list((tmp_path / "out").glob("explain/*/*"))


def test_a_single_training_picture_is_no_traceback(mlbench):
    code, _, error = mlbench("explain=saliency", "data.train_examples=1", *SMALL)
    assert (code, "Traceback" in error, len(error.splitlines())) == (2, False, 1)


@pytest.mark.parametrize("shape", [(1, 20), (1, 1)])
def test_maps_of_pictures_too_small_for_ssim(mlbench, tmp_path, shape):
    draws = np.random.default_rng(0)
    labels = draws.integers(0, 2, 120)
    pictures = (draws.integers(0, 100, (120, *shape)) + 120 * labels[:, None, None]).astype(np.uint8)
    np.savez(
        tmp_path / "tiny.npz",
        x_train=pictures[:80], y_train=labels[:80], x_test=pictures[80:], y_test=labels[80:],
    )  # fmt: skip
    words = ("explain=saliency", "data=npz", f"data.path={tmp_path / 'tiny.npz'}", "explain.samples=4")
    code, _, error = mlbench(*words, "model=mlp", "train.epochs=1", "threads=1")
    assert code == 0, error
    assert "randomisation_ssim" not in summary(only_run(tmp_path / "out"))["metrics"]


@pytest.mark.parametrize(
    "words",
    [
        ["explain=embed", "model.hidden=[1]", "explain.samples=40"],
        ["explain=probe", "data.train_examples=2", "explain.epochs=1"],
    ],
)
def test_layers_of_one_number_and_probes_of_one_example(mlbench, tmp_path, words):
    code, _, error = mlbench(*words, "data=digits", "model=mlp", "train.epochs=1", "threads=1")
    assert code == 0, error
    only_run(tmp_path / "out")


def test_baselines_need_two_classes(mlbench, tmp_path):
    code, _, error = mlbench("explain=baselines", "model=mlp", "data.train_examples=1")
    assert (code, "of one class" in error, (tmp_path / "out").exists()) == (2, True, False), error


@pytest.mark.parametrize(("samples", "shown"), [(64, 12), (10, 10)])
def test_every_picture_of_the_user_is_shown_with_its_name(mlbench, tmp_path, monkeypatch, samples, shown):
    """Figures come in pages; a title tells how many files were found, also where explain.samples leaves some out."""

    from mlbench.explain import runner

    (tmp_path / "mine").mkdir()
    for number in range(12):
        Image.new("L", (8, 8), 20 * number).save(tmp_path / "mine" / f"picture_{number:02d}.png")
    drawn = {}
    monkeypatch.setattr(runner.grids, "draw_grid", lambda rows, path, **_: drawn.update({path.stem: rows}))
    words = ("explain=saliency", f"explain.images={tmp_path / 'mine'}", f"explain.samples={samples}", *SMALL)
    code, _, error = mlbench(*words)
    assert code == 0, error
    for figure, rows_up_to in (("maps", 8), ("classes", 4)):
        pages = {name: rows for name, rows in drawn.items() if name.partition("_")[0] == figure}
        assert list(pages) == [figure, *(f"{figure}_{number}" for number in range(2, 1 + -(-shown // rows_up_to)))]
        assert all(len(rows) <= rows_up_to for rows in pages.values())
        titles = [title for rows in pages.values() for title, _ in rows]
        assert len(titles) == shown
        for number, title in enumerate(titles):
            assert title.startswith(f"picture_{number:02d}.png ({number + 1} of 12), ")
    with np.load(only_run(tmp_path / "out") / "artefacts" / "maps.npz") as file:
        assert file["files"].tolist() == [f"picture_{number:02d}.png" for number in range(shown)]


@pytest.mark.usefixtures("undrawn")
def test_a_sweep_shows_the_controls_of_maps_below_them(mlbench, tmp_path):
    words = ("-m", "explain=saliency,occlusion", "data=planted", "explain.samples=4", "model=cnn", *SMALL)
    code, text, error = mlbench(*words)
    assert code == 0, error
    for line in ("control: random", "control: edges", "control: input", "control: wrong class"):
        assert text.count(line) == 2
    runs = {summary(folder)["technique"]: summary(folder)["metrics"] for folder in folders(tmp_path / "out")}
    below = [line for line in text.splitlines() if "control: input" in line]
    for line in below:
        assert f"{runs['occlusion']['control_input_deletion_auc']:.3f}".lstrip("0") in line
