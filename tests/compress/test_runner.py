"""Whole compression runs: their files, the meaning of their numbers, and the rules that every method must follow."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

import mlbench as package
from mlbench.compress import runner
from mlbench.compress.base import weights
from mlbench.compress.measurement import export as measurement_export
from mlbench.compress.measurement.worker import Reader
from mlbench.core.config_groups import conf_folder, entries
from mlbench.data.modality import PAD
from mlbench.experiment.fit_sequence import FitSequence
from mlbench.models.bert import Bert
from mlbench.runs import cache, run_dir
from mlbench.training.mac_counter import MacCounter
from tests.experiment.test_runs import folders, interrupt_at, only_run, summary

METHODS = sorted(entries("compress"))
SMALL = ("train.epochs=2", "train.batch_size=64", "threads=1", "latency_batch=4")
LATENCY = {"latency_ms", "latency_iqr_ms"}


def points(folder):
    with (folder / "points.csv").open() as file:
        return list(csv.DictReader(file))


def without_clocks(rows):
    return [{name: value for name, value in row.items() if name not in LATENCY} for row in rows]


# a kind of artefact each: plain, coded, of changed layers, with exits, of whole numbers
IN_FRESH_PROCESS = ("deep_compression", "early_exit", "int8", "measure", "prune_neurons")


@pytest.mark.parametrize("choice", [*METHODS, "binary compress.mode=stochastic"])
def test_every_method_conforms(mlbench, tmp_path, monkeypatch, request, choice):
    """The suite that any method found in conf/compress must pass on the 8x8 digits."""
    method, *settings = choice.split()
    preset = OmegaConf.load(conf_folder() / "compress" / f"{method}.yaml")
    if preset.get("finetune_epochs", 0) > 2:
        settings.append("compress.finetune_epochs=2")
    words = (f"compress={method}", *settings, *SMALL)
    if method not in IN_FRESH_PROCESS:
        request.getfixturevalue("same_process")
    save, saves = run_dir.Run.save, []
    monkeypatch.setattr(run_dir, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(run_dir.Run, "save", lambda run, state: (saves.append(1), save(run, state)))
    code, text, error = mlbench(*words)
    assert code == 0, error
    folder = only_run(tmp_path / "out")
    found, rows = summary(folder), points(folder)
    assert found["technique"] == method
    assert str(folder) in text
    needed = {"accuracy", "error", "dense_error", "error_increase", "bytes", "ratio", "macs_saved", "speedup"}
    assert needed <= set(found["metrics"])
    needed = {"parameters", "samples_processed", "train_seconds", "finetune_seconds", "measure_seconds", "wall_seconds"}
    assert needed <= set(found["costs"])
    files = sorted((folder / "artefacts").glob("*.mlb"))
    assert [int(row["step"]) for row in rows] == list(range(len(files)))
    assert rows[0]["stage"] == "dense"
    assert len({row["stage"] for row in rows}) == len(rows)
    for row, file in zip(rows, files, strict=True):
        assert int(row["bytes"]) == file.stat().st_size
        assert float(row["ratio"]) == pytest.approx(4 * int(rows[0]["parameters"]) / file.stat().st_size)
        assert float(row["accuracy"]) + float(row["error"]) == pytest.approx(1)
        assert int(row["nonzero"]) <= int(row["parameters"])
        assert float(row["latency_ms"]) > 0
        with torch.no_grad():
            assert package.load(file)(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    assert found["metrics"]["accuracy"] == float(rows[-1]["accuracy"])
    assert not (folder / "checkpoints" / "fits").exists()
    with torch.no_grad():
        pictures = torch.randint(0, 256, (5, 1, 8, 8), generator=torch.Generator().manual_seed(0)).float()
        torch.testing.assert_close(package.load(folder)(pictures), package.load(files[-1])(pictures))

    request.getfixturevalue("same_process")  # what the measuring process says is known by now
    shutil.rmtree(tmp_path / "out" / "store")  # the dense network is trained again
    interrupt_at(2 * len(saves) // 3 - 1, save, monkeypatch)
    assert mlbench(*words)[0] == 130
    (again,) = set(folders(tmp_path / "out")) - {folder}
    assert mlbench(f"resume={again}", out=False)[0] == 0
    assert without_clocks(points(again)) == without_clocks(rows)
    for file in files:
        assert (again / "artefacts" / file.name).read_bytes() == file.read_bytes()


def test_the_files_of_a_run(mlbench, tmp_path):
    assert mlbench("compress=deep_compression", *SMALL)[0] == 0
    folder = only_run(tmp_path / "out")
    assert folder.parent.name == "deep_compression-digits-mlp"
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    figures = {f"figures/accuracy_{name}.png" for name in ("bytes", "macs", "latency_ms")}
    assert figures | {"points.csv", "layers.csv", "metrics.jsonl", "checkpoints/model.safetensors"} <= names
    assert (folder / "points.csv").read_text().splitlines()[0] == (
        "step,stage,accuracy,error,parameters,nonzero,bytes,ratio,macs,latency_ms,latency_iqr_ms"
    )
    assert [row["stage"] for row in points(folder)] == ["dense", "prune 0.1", "cluster 5 bits", "huffman"]
    with (folder / "layers.csv").open() as file:
        layers = list(csv.DictReader(file))
    for step in ("0", "3"):
        mine = [row for row in layers if row["step"] == step]
        for name in ("parameters", "nonzero", "macs"):
            assert sum(float(row[name]) for row in mine) == float(points(folder)[int(step)][name])


def test_one_multiply_add_is_one_mac_and_the_file_is_what_is_counted(mlbench, tmp_path):
    """By hand: a perceptron of 64, 30, 20 and 10 units."""
    assert mlbench("compress=measure", "model.hidden=[30,20]", *SMALL)[0] == 0
    file = only_run(tmp_path / "out") / "artefacts" / "point_00.mlb"
    torch.save({"pictures": torch.zeros(7, 1, 8, 8).byte(), "labels": torch.zeros(7).long()}, tmp_path / "test.pt")
    found = Reader(str(tmp_path / "test.pt"), "cpu", 1, 4, []).point(str(file))
    assert found["macs"] == 64 * 30 + 30 * 20 + 20 * 10
    assert found["parameters"] == 64 * 30 + 30 * 20 + 20 * 10 + 60
    assert found["bytes"] == file.stat().st_size


@pytest.mark.usefixtures("same_process")
def test_the_dense_network_is_trained_once(mlbench, tmp_path):
    for method in ("measure", "huffman"):
        assert mlbench(f"compress={method}", *SMALL)[0] == 0
    first, second = (json.loads(path.read_text()) for path in (tmp_path / "out").glob("compress/*/*/summary.json"))
    assert sorted(s["costs"]["samples_processed"] for s in (first, second))[0] == 0
    assert len(list((tmp_path / "out" / "store").glob("*.pt"))) == 1
    assert mlbench("compress=measure", "train.lr=0.05", *SMALL)[0] == 0
    assert mlbench("compress=measure", "seed=1", *SMALL)[0] == 0
    assert len(list((tmp_path / "out" / "store").glob("*.pt"))) == 3


@pytest.mark.usefixtures("same_process")
def test_results_do_not_depend_on_whether_the_dense_network_came_from_the_store(mlbench, tmp_path):
    for out in ("a", "b"):
        if out == "b":
            assert mlbench("compress=measure", *SMALL, f"out={tmp_path / 'b'}", out=False)[0] == 0
        assert mlbench("compress=prune", *SMALL, f"out={tmp_path / out}", out=False)[0] == 0
    one, two = (next((tmp_path / out).glob("compress/prune*/*")) for out in ("a", "b"))
    assert without_clocks(points(one)) == without_clocks(points(two))


@pytest.mark.usefixtures("same_process")
def test_later_draws_do_not_depend_on_whether_a_pretrained_network_came_from_the_store(mlbench, tmp_path):
    # the trap: a probe's first weights were those after the pretraining, or those after nothing
    words = ("explain=probe", "explain.hidden=[0]", "explain.epochs=1", "data.train_sentences=100", "model=bert")
    ends = []
    for _ in range(2):
        assert mlbench(*words)[0] == 0
        (folder,) = (path.parent for path in (tmp_path / "out").glob("explain/*/*/summary.json"))
        ends.append(json.loads((folder / "summary.json").read_text())["metrics"])
        shutil.rmtree(folder)
    assert ends[0] == ends[1]


@pytest.mark.usefixtures("same_process")
def test_what_comes_before_a_task_does_not_stop_early_by_it(mlbench, tmp_path):
    words = ("compress=measure", "data=grammar", "model=bert", "data.train_sentences=60", "train.epochs=1")
    words += ("model.width=8", "model.depth=1", "model.pretrain_epochs=6", "model.pretrain_lr=0.5")
    assert mlbench(*words, "train.patience=1")[0] == 0
    lines = (only_run(tmp_path / "out") / "metrics.jsonl").read_text().splitlines()
    losses = [line for line in map(json.loads, lines) if line["metric"] == "loss"]
    assert [line["step"] for line in losses if line["task"] == 1] == [1, 2, 3, 4, 5, 6]


@pytest.mark.usefixtures("same_process")
def test_exports_do_not_change_later_draws(mlbench, tmp_path):
    for out, words in (("a", ()), ("b", ("export=[torch]",))):
        assert (
            mlbench(
                "compress=distill", "compress.finetune_epochs=1", *SMALL, *words, f"out={tmp_path / out}", out=False
            )[0]
            == 0
        )
    one, two = (next((tmp_path / out).glob("compress/distill*/*")) for out in ("a", "b"))
    assert without_clocks(points(one)) == without_clocks(points(two))


@pytest.mark.usefixtures("same_process")
def test_a_process_that_dies_between_a_networks_weights_and_its_costs_loses_neither(mlbench, tmp_path, monkeypatch):
    words = ("compress=low_rank", "train.epochs=3", "data.train_examples=200", "threads=1")
    assert mlbench(*words)[0] == 0
    whole, pay = only_run(tmp_path / "out"), FitSequence.pay

    def dies(trainings, progress):
        if trainings.count == 2:
            raise KeyboardInterrupt
        pay(trainings, progress)

    monkeypatch.setattr(FitSequence, "pay", dies)
    shutil.rmtree(tmp_path / "out" / "store")
    assert mlbench(*words)[0] == 130
    monkeypatch.setattr(FitSequence, "pay", pay)
    (cut,) = set(folders(tmp_path / "out")) - {whole}
    assert mlbench(f"resume={cut}", out=False)[0] == 0
    assert (cut / "metrics.jsonl").read_text() == (whole / "metrics.jsonl").read_text()
    samples = [summary(folder)["costs"]["samples_processed"] for folder in (whole, cut)]
    assert samples[0] == samples[1] > 0
    assert summary(cut)["costs"]["finetune_seconds"] > 0


@pytest.mark.usefixtures("same_process")
def test_what_a_process_left_that_died_at_its_very_end_goes(mlbench, tmp_path):
    assert mlbench("-m", "compress=prune", *SMALL)[0] == 0
    (folder,) = (path.parent for path in (tmp_path / "out").glob("compress/*/*/summary.json"))
    whole = sorted(folder.rglob("*"))
    left = [folder / ".lock", folder / "checkpoints" / "last.pt", folder / "checkpoints" / "fits" / "000.pt"]
    for path in left:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert mlbench("-m", "compress=prune", *SMALL)[0] == 0
    assert sorted(folder.rglob("*")) == whole


@pytest.mark.usefixtures("same_process")
def test_a_checkpoint_brings_how_its_pictures_were_normalised(mlbench, tmp_path):
    assert mlbench("data.normalise=unit", "train.epochs=8")[0] == 0
    first = only_run(tmp_path / "out")
    assert mlbench("compress=measure", f"checkpoint={first}", *SMALL)[0] == 0
    (folder,) = (tmp_path / "out").glob("compress/*/*")
    assert float(points(folder)[0]["accuracy"]) == summary(first)["metrics"]["accuracy"]
    words = ("compress=distill", f"compress.teachers=[{first}]", "compress.alone=false", "compress.finetune_epochs=1")
    code, _, error = mlbench(*words, *SMALL)
    assert (code, "normalised otherwise; set data.normalise" in error) == (2, True), error


def test_a_store_file_is_held_by_one_process(tmp_path):
    code = "import sys, pathlib; from mlbench.runs import cache\nwith cache.held(pathlib.Path(sys.argv[1])): print(1)"
    path = cache.place(tmp_path, {"a": 1})
    assert path != cache.place(tmp_path, {"a": 2})
    assert path == cache.place(tmp_path, dict(reversed({"a": 1}.items())))
    with cache.held(path):
        waiting = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(1)
    assert waiting.communicate(timeout=20)[0].strip() == b"1"


def test_an_artefact_is_a_checkpoint(mlbench, tmp_path):
    assert mlbench("compress=prune", *SMALL)[0] == 0
    folder = only_run(tmp_path / "out")
    file = folder / "artefacts" / "point_01.mlb"
    assert mlbench("compress=cluster", f"checkpoint={file}", *SMALL)[0] == 0
    (again,) = (tmp_path / "out").glob("compress/cluster*/*")
    assert without_clocks(points(again))[0]["bytes"] == points(folder)[1]["bytes"]
    assert points(again)[0]["accuracy"] == points(folder)[1]["accuracy"]
    assert points(again)[1]["nonzero"] == points(folder)[1]["nonzero"]
    code, _, error = mlbench("compress=measure", f"checkpoint={file}", "model.hidden=[7]", *SMALL)
    assert (code, "another model" in error) == (2, True)
    file.write_bytes(file.read_bytes()[:-9])
    code, _, error = mlbench("compress=measure", f"checkpoint={file}", *SMALL)
    assert (code, "truncated" in error) == (2, True)


def test_a_chain_takes_any_stages(mlbench, tmp_path):
    words = ("compress=chain", "compress.distill.finetune_epochs=5", "compress.distill.alone=false", *SMALL)
    words += ("compress.distill.student.hidden=[20,20]",)
    assert mlbench(*words, "compress.stages=[distill,prune,early_exit,int8,huffman]")[0] == 0
    rows = points(only_run(tmp_path / "out"))
    stages = [row["stage"] for row in rows if "budget" not in row["stage"]]
    assert stages == ["dense", "distilled", "prune 0.1", "last exit", "chosen", "int8", "huffman"]


@pytest.mark.usefixtures("same_process")
def test_a_control_in_a_chain_is_of_the_students_structure(mlbench, tmp_path):
    words = ("compress=chain", "compress.distill.finetune_epochs=1", "compress.distill.alone=false", *SMALL)
    words += ("compress.distill.student.hidden=[20]", "compress.prune.finetune_epochs=1", "compress.prune.control=true")
    assert mlbench(*words, "compress.stages=[distill,prune]")[0] == 0
    rows = points(only_run(tmp_path / "out"))
    assert [row["stage"] for row in rows] == ["dense", "distilled", "control 0.1", "prune 0.1"]
    assert len({row["parameters"] for row in rows[1:]}) == 1


def test_a_model_of_the_users_own_is_measured_and_exported(mlbench, tmp_path):
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "flat_net.py").write_text(
        "from torch import nn\n\n\nclass Net(nn.Sequential):\n"
        "    def __init__(self, input_shape, outputs):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(input_shape[1] * input_shape[2], outputs))\n"
    )
    (tmp_path / "mine" / "model" / "flat.yaml").write_text("# one layer\n_target_: flat_net.Net\n")
    own = ("--config-dir", str(tmp_path / "mine"), "compress=measure", "model=flat", "export=[torch]")
    code, _, error = mlbench(*own, *SMALL)
    sys.modules.pop("flat_net", None)
    assert code == 0, error
    assert (only_run(tmp_path / "out") / "artefacts" / "point_00.pt2").exists()


@pytest.mark.usefixtures("same_process")
def test_a_stage_that_cannot_follow_says_so_before_anything_is_trained(mlbench, tmp_path):
    words = ("compress=chain", "compress.distill.finetune_epochs=1", "compress.stages=[distill,early_exit]", *SMALL)
    code, _, error = mlbench(*words)
    assert (code, "stage early_exit" in error, "Traceback" in error) == (2, True, False), error
    assert not list((tmp_path / "out").rglob("*.pt"))


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["compress=prune", "data=split_digits"], ["stream of tasks", "data=mnist"]),
        (["compress=prune", "train.validation=0"], ["train.validation=0", "validation data"]),
        (["compress=prune", "compress.fraction=2"], ["compress.fraction=2", "above 0 and below 1"]),
        (["compress=prune", "compress.layers=[0.5]"], ["layers", "3 layers"]),
        (["compress=prune", "reference=joint"], ["reference"]),
        (["compress=prune", "compress.importance=magnitud"], ["did you mean 'magnitude'"]),
        (["compress=chain", "compress.stages=[prun]"], ["prun", "did you mean 'prune'"]),
        (["compress=chain", "compress.stages=[]"], ["stages", "one method or more"]),
        (["compress=chain", "compress.stages=[prune,binary]"], ["stages=binary", "as the first stage"]),
        (["compress=chain", "compress.stages=[low_rank,prune]", "compress.prune.rewind=initial"], ["stages=prune"]),
        (["compress=chain", "compress.prune.fractn=.1"], ["compress.prune.fractn", "did you mean 'fraction'"]),
        (["compress=cluster", "compress.bits=9"], ["bits", "1 to 8"]),
        (["compress=prune", "lifelong=ewc"], ["lifelong and compress"]),
        (["compress=prune", "latency_batch=0"], ["latency_batch"]),
        (["compress=prune", "export=[jpeg]"], ["export", "onnx"]),
        (["compress=prun"], ["did you mean 'prune'"]),
        (["compress=distill", "compress.teachers=[nowhere.pt]"], ["teachers", "nowhere.pt does not exist"]),
        (["compress=distill", f"compress.teachers=[{__file__}]"], ["test_runner.py is a text file"]),
        (
            ["compress=distill", f"compress.teachers=[{Path(__file__).parent}]"],
            ["holds no checkpoints/model.safetensors"],
        ),
    ],
)
def test_mistakes_get_short_messages_and_leave_no_folder(mlbench, tmp_path, words, parts):
    code, _, error = mlbench(*SMALL, *words)
    assert code == 2, error
    assert len(error.strip().splitlines()) <= 2
    assert "Traceback" not in error
    for part in parts:
        assert part in error
    assert not list((tmp_path / "out").glob("compress/*/*"))


class Skipping(nn.Module):
    """A network that runs its second layer on some of the examples."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 3, bias=False), nn.Linear(3, 3, bias=False)

    def forward(self, x):
        found = self.first(x.flatten(1))
        stay = x.flatten(1)[:, 0] > 0
        found[stay] = self.second(found[stay])
        return found


@pytest.fixture
def measuring(tmp_path):
    pictures = torch.zeros(10, 1, 2, 2)
    pictures[:4, 0, 0, 0] = 1
    labels = torch.zeros(10, dtype=torch.int64)
    torch.save({"pictures": pictures, "labels": labels}, tmp_path / "test.pt")
    made = Reader(str(tmp_path / "test.pt"), "cpu", 1, 2, [])
    net = Skipping()
    with torch.no_grad():
        net.second.weight.copy_(torch.diag(torch.tensor([1.0, 0.0, 2.0])))
    (tmp_path / "net").write_bytes(b"12345")
    made.networks[str(tmp_path / "net")] = nn.Sequential(nn.Identity(), net)
    return made


def test_one_multiply_add_is_one_mac_and_only_what_ran_counts(measuring, tmp_path):
    row = measuring.point(str(tmp_path / "net"))
    assert row["macs"] == pytest.approx(4 * 3 + 0.4 * 3 * 3)
    assert (row["parameters"], row["nonzero"], row["bytes"]) == (21, 14, 5)
    right = np.unpackbits(np.frombuffer(bytes.fromhex(row["correct"]), np.uint8), count=10)
    assert right.mean() == row["accuracy"]


def test_latencies_of_networks_take_turns(measuring, tmp_path):
    path = str(tmp_path / "net")
    order, seconds = [], measuring.seconds
    measuring.seconds = lambda net, batches, times=1: order.append(len(batches)) or seconds(net, batches, times)
    found = np.array(measuring.latencies([path, path]))
    assert found.shape == (2, 11)
    assert (found > 0).all()
    assert len(order) == 2 + 2 * 12


@pytest.mark.usefixtures("same_process")
def test_keep_all_keeps_networks_that_can_be_read(mlbench, tmp_path):
    """Every epoch of the dense network; a student, which config.yaml does not describe as its model, is an artefact."""
    words = ("compress=distill", "model=mlp", "model.hidden=[30]", "compress.finetune_epochs=2", "keep=all")
    code, _, error = mlbench(*words, *SMALL)
    assert code == 0, error
    kept = sorted((only_run(tmp_path / "out") / "checkpoints").glob("fit_*.safetensors"))
    assert [path.stem for path in kept] == ["fit_000_epoch_001", "fit_000_epoch_002"]
    for path in kept:
        package.load(path)


def pictures_file(path, flipped=False):
    """Dark and bright pictures; `flipped` labels are the other ones."""
    random = np.random.default_rng(0)
    bright = random.integers(0, 2, 300)
    pictures = (random.integers(0, 156, (300, 8, 8)) + 100 * bright[:, None, None]).astype(np.uint8)
    labels = 1 - bright if flipped else bright
    np.savez(path, x_train=pictures[:200], y_train=labels[:200], x_test=pictures[200:], y_test=labels[200:])


@pytest.mark.usefixtures("same_process")
def test_a_network_in_the_store_is_of_these_examples(mlbench, tmp_path):
    words = ("compress=measure", "data=npz", f"data.path={tmp_path / 'mine.npz'}", "model.hidden=[8]", *SMALL)
    for flipped in (False, True):
        pictures_file(tmp_path / "mine.npz", flipped)
        assert mlbench(*words, "train.epochs=10")[0] == 0
    accuracies = [summary(folder)["metrics"]["accuracy"] for folder in folders(tmp_path / "out")]
    assert min(accuracies) > 0.9
    assert len(list((tmp_path / "out" / "store").glob("*.pt"))) == 2


@pytest.mark.usefixtures("same_process")
def test_a_network_in_the_store_is_of_this_source_and_force_makes_it_anew(mlbench, tmp_path):
    mine = tmp_path / "mine"
    (mine / "model").mkdir(parents=True)
    (mine / "model" / "thin.yaml").write_text("# thin\n_target_: thin.Thin\n")
    source = "from torch import nn\n\nclass Thin(nn.Sequential):\n    def __init__(self, input_shape, outputs):\n"
    words = ("--config-dir", str(mine), "compress=measure", "model=thin", *SMALL)
    stored = lambda: {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out" / "store").glob("*.pt")}  # noqa: E731
    for width in (4, 6):
        layers = f"nn.Flatten(), nn.Linear(64, {width}), nn.ReLU(), nn.Linear({width}, outputs)"
        (mine / "thin.py").write_text(f"{source}        super().__init__({layers})\n")
        sys.modules.pop("thin", None)
        code, _, error = mlbench(*words)
        assert code == 0, error
    before = stored()
    assert len(before) == 2
    assert mlbench(*words)[0] == 0
    assert stored() == before
    for sweep in (("-m", "latency_batch=1,2"), (), ("-m", "latency_batch=1,2")):
        code, _, error = mlbench(*words, "force=true", *sweep)
        assert code == 0, error
        assert error.count("is trained once and kept") == 1  # jobs of one sweep share it
        changed = [name for name, when in stored().items() if when != before[name]]
        assert len(changed) == 1
        before = stored()


@pytest.mark.usefixtures("same_process")
def test_a_network_in_the_store_is_of_all_modules_behind_its_own(mlbench, tmp_path):
    mine = tmp_path / "mine"
    for folder in ("model", "parts"):
        (mine / folder).mkdir(parents=True)
    (mine / "model" / "wide.yaml").write_text("_target_: wide.Wide\n")
    (mine / "wide.py").write_text("from parts.blocks import Wide\n\n\nclass Wide(Wide):\n    pass\n")
    source = "from mlbench.models.mlp import MLP\n\n\nclass Wide(MLP):\n    def __init__(self, input_shape, outputs):\n"
    words = ("--config-dir", str(mine), "compress=measure", *SMALL)
    for width in (4, 6, 6):
        (mine / "parts" / "blocks.py").write_text(
            f"{source}        super().__init__(input_shape, outputs, [{width}])\n"
        )
        for name in ("wide", "parts", "parts.blocks"):
            sys.modules.pop(name, None)
        for model in ("wide", "mlp"):
            code, _, error = mlbench(*words, f"model={model}", "force=true")
            assert code == 0, error
    assert len(list((tmp_path / "out" / "store").glob("*.pt"))) == 3  # two wide ones, and mlbench's own


@pytest.mark.usefixtures("same_process")
def test_a_chain_has_the_numbers_and_figures_of_its_stages(mlbench, tmp_path):
    words = ("compress.stages=[early_exit,huffman]", "data=digits", "model=cnn", "model.channels=[4,8,8]")
    assert mlbench("compress=chain", *words, *SMALL)[0] == 0
    folder = only_run(tmp_path / "out")
    assert {"first_exit_share", "exit_speedup"} <= summary(folder)["metrics"].keys()
    assert (folder / "figures" / "exits.png").exists()


@pytest.mark.parametrize(
    ("stages", "told"),
    [
        ("[int8,prune]", "compress.stages=prune: allowed is before int8, which leaves no weights to change"),
        ("[int8,low_rank,huffman]", "compress.stages=low_rank: allowed is before int8"),
        ("[int8,huffman,prune]", "compress.stages=prune: allowed is before int8"),
    ],
)
def test_no_stage_changes_weights_after_int8(mlbench, tmp_path, stages, told):
    code, _, error = mlbench("compress=chain", f"compress.stages={stages}", *SMALL)
    assert (code, told in error, (tmp_path / "out").exists()) == (2, True, False)


@pytest.mark.usefixtures("same_process")
def test_a_student_can_be_any_model_and_is_built_before_anything_is_trained(mlbench, tmp_path):
    words = ("compress=distill", "model@compress.student=linear", "compress.finetune_epochs=1", "compress.alone=false")
    assert mlbench(*words, *SMALL)[0] == 0
    assert summary(only_run(tmp_path / "out"))["metrics"]["accuracy"] > 0.2
    shutil.rmtree(tmp_path / "out")
    code, _, error = mlbench("compress=distill", "model@compress.student=lenet5", *SMALL)
    assert (code, "compress.student" in error, "16x16" in error, (tmp_path / "out").exists()) == (2, True, True, False)


@pytest.mark.parametrize("shortest", [24, 20])
def test_multiply_adds_of_attention_by_hand(shortest):
    pytest.importorskip("transformers")
    length, width, depth = 24, 64, 2
    net = Bert((length,), 4, 100, width, depth, 4, 0.0, None, 0, 16, 0.002).eval()
    ids = torch.full((2, length), 5)
    ids[0, shortest:] = PAD  # with a mask as without
    with torch.no_grad(), MacCounter(net) as counter:
        net(ids)
    linear, attention = depth * 12 * width * width * length, depth * 2 * length * length * width
    assert attention == 147_456
    assert counter.total / len(ids) == linear + attention + width * 4


TEXTS = ("data=grammar", "model=bert", "model.pretrain_epochs=0", "data.train_sentences=200", "train.epochs=1")


def test_word_embeddings_that_a_linear_layer_shares_are_no_weights_of_its_own():
    pytest.importorskip("transformers")
    net = Bert((24,), 4, 100, 64, 2, 4, 0.0, None, 0, 16, 0.002)
    names = dict(net.named_parameters())
    assert set(weights(net)) <= set(names)  # a second name would be none that training knows
    assert not any("embeddings" in name or "decoder" in name for name in weights(net))
    assert "classes.weight" in weights(net)
    first = nn.Linear(3, 3)
    twice = nn.Sequential(first, nn.Linear(3, 3))
    twice[1].weight = first.weight
    assert list(weights(twice)) == ["0.weight"]


@pytest.mark.parametrize(
    "words",
    [
        ["compress=prune", "compress.importance=taylor"],
        ["compress=ternary"],
        ["compress=cluster", "compress.bits=2"],
        ["compress=distill", "model@compress.student=bert", "compress.student.pretrain_epochs=0"],
    ],
)
@pytest.mark.usefixtures("same_process")
def test_networks_for_texts_are_compressed_but_for_their_embeddings(mlbench, tmp_path, words):
    pytest.importorskip("transformers")
    code, _, error = mlbench(*words, *TEXTS, "compress.finetune_epochs=1", "threads=1", "device=cpu")
    assert code == 0, error
    folder = only_run(tmp_path / "out")
    net = package.load(max((folder / "artefacts").glob("*.mlb")))[1]
    assert net.language.cls.predictions.decoder.weight.unique().numel() > 1000
    if "compress=cluster" in words:
        assert all(weight.unique().numel() <= 4 for weight in weights(net).values())
    assert "soft_likeness" not in summary(folder)["metrics"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["compress=measure", "export=[torch]"], "export is for pictures and sounds"),
    ],
)
def test_methods_that_cannot_handle_texts_are_refused_first(mlbench, tmp_path, words, told):
    pytest.importorskip("transformers")
    code, _, error = mlbench(*words, *TEXTS)
    assert (code, told in error, (tmp_path / "out").exists()) == (2, True, False), error


@pytest.mark.usefixtures("same_process")
def test_spectrograms_are_drawn_upright(mlbench, monkeypatch):
    drawn = {}
    monkeypatch.setattr(
        runner.grids, "draw_grid", lambda rows, path, upwards: drawn.update({path.stem: (rows, upwards)})
    )
    words = ("data=tones", "model=cnn", "model.channels=[4,8,8]", "compress.finetune_epochs=1", "train.epochs=1")
    code, _, error = mlbench("compress=early_exit", *words, "threads=1", "device=cpu")
    assert code == 0, error
    rows, upwards = drawn["exits"]
    assert upwards
    assert max(panel.picture.max() for _, panels in rows for panel in panels) > 100  # and not black


@pytest.mark.usefixtures("same_process")
def test_a_loss_that_diverges_names_the_rate_of_its_own_training(mlbench):
    code, _, error = mlbench("compress=prune", "compress.finetune_lr=1e30", *SMALL)
    assert (code, "try a smaller finetune_lr" in error) == (1, True), error


def test_what_cannot_be_exported_is_refused_before_anything_is_trained(mlbench, tmp_path, monkeypatch):
    pytest.importorskip("torchao")

    def unable(*about):
        raise ValueError("no such operator\nand more")

    monkeypatch.setitem(measurement_export.FORMS, "torch", (unable, None, ".pt2"))
    code, _, error = mlbench("compress=int8", "export=[torch]", *SMALL)
    assert (code, "Traceback" in error, (tmp_path / "out").exists()) == (2, False, False), error
    assert "compress=int8 with export=torch: the result cannot be exported as torch: no such operator" in error


@pytest.mark.usefixtures("same_process")
def test_a_rehearsal_draws_nothing_from_the_run(mlbench, tmp_path, monkeypatch):
    words = ("compress=prune_neurons", "model.hidden=[12]", *SMALL)
    for out in ("with", "without"):
        assert mlbench(*words, f"out={tmp_path / out}", out=False)[0] == 0
        monkeypatch.setattr(runner, "rehearse", lambda *about: None)
    one, two = (next((tmp_path / out).glob("compress/*/*")) for out in ("with", "without"))
    assert without_clocks(points(one)) == without_clocks(points(two))
