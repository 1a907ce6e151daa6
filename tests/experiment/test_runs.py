"""Whole runs: what they leave, that they can be cut off and go on, and that every method plays by the same rules."""

import importlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

import mlbench as package
from mlbench.core.config_groups import conf_folder, entries
from mlbench.core.errors import Interrupted, UserError
from mlbench.lifelong.replay.icarl import NearestMean
from mlbench.runs import provenance, run_dir
from mlbench.runs.checkpoint_file import read_tensors

METHODS = sorted(entries("lifelong"))
FEW_STEPS = {"gdumb": ["lifelong.epochs=3"], "generative_replay": ["lifelong.generator_steps=100"]}
SMALL = ("data.tasks=3", "data.train_per_task=60", "data.test_per_task=80", "train.epochs=2", "model.hidden=[16]")


def folders(out):
    return sorted(path.parent for path in Path(out).glob("*/*/*/config.yaml"))


def interrupt_at(number, save, monkeypatch):
    """Ctrl-C, once, right after checkpoint `number` (from 0) has been written by `save`."""
    left = iter(range(number, -1, -1))

    def save_and_interrupt(run, state):
        save(run, state)
        if next(left, 1) == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(run_dir.Run, "save", save_and_interrupt)


def only_run(out):
    (folder,) = folders(out)
    return folder


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


@pytest.mark.parametrize("scenario", ["task", "domain", "class"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_conforms(mlbench, tmp_path, monkeypatch, request, method, scenario):
    """The suite that any method found in conf/lifelong must pass, in every scenario it says it is defined for."""
    small = [word for word in SMALL if not word.startswith("data.tasks")]
    words = (f"lifelong={method}", "data=split_digits", "data.tasks=2", f"data.scenario={scenario}", *small)
    words += (*FEW_STEPS.get(method, []),)
    save, saves = run_dir.Run.save, []
    monkeypatch.setattr(run_dir, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(run_dir.Run, "save", lambda run, state: (saves.append(1), save(run, state)))
    code, text, error = mlbench(*words)
    target = OmegaConf.load(conf_folder() / "lifelong" / f"{method}.yaml")._target_
    module, _, name = target.rpartition(".")
    if scenario not in getattr(importlib.import_module(module), name).scenarios:
        assert code == 2
        assert f"not defined for data.scenario={scenario}" in error
        return
    assert code == 0, error
    folder = only_run(tmp_path / "out")
    found = summary(folder)
    assert found["technique"] == method
    assert 0 <= found["metrics"]["average_accuracy"] <= 1
    assert ("forward_transfer" in found["metrics"]) == (scenario != "class" and method != "joint")
    needed = {"parameters", "state_bytes", "memory_bytes", "samples_processed", "samples_replayed", "train_seconds",
              "consolidate_seconds", "eval_seconds", "samples_per_second", "wall_seconds"}  # fmt: skip
    assert needed <= set(found["costs"])
    parts = sum(found["costs"][name] for name in ("train_seconds", "consolidate_seconds", "eval_seconds"))
    assert parts <= found["costs"]["wall_seconds"]
    rows = (folder / "accuracy_matrix.csv").read_text().splitlines()
    assert len(rows) == (2 if method == "joint" else 4)
    last = [float(value) for value in rows[-1].split(",")[1:]]
    assert found["metrics"]["average_accuracy"] == pytest.approx(np.mean(last))
    assert str(folder) in text
    for net in (folder / "checkpoints").iterdir():
        assert package.load(net)(torch.zeros(2, 1, 8, 8)).shape[0] == 2

    request.getfixturevalue("undrawn")
    interrupt_at(len(saves) // 2, save, monkeypatch)
    assert mlbench(*words)[0] == 130
    (again,) = set(folders(tmp_path / "out")) - {folder}
    assert mlbench(f"resume={again}", out=False)[0] == 0
    check_equal(folder, again)


def test_a_run_leaves_what_the_design_says(mlbench, tmp_path):
    assert mlbench("lifelong=gem", *SMALL, "lifelong.memory_total=30", "seed=7")[0] == 0
    folder = only_run(tmp_path / "out")
    assert folder.parent == tmp_path / "out" / "lifelong" / "gem-permuted_digits-mlp"
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    pictures = ("accuracy_matrix", "accuracy_over_time", "average_accuracy", "task_seconds")
    figures = {f"figures/{name}.png" for name in pictures}
    hydra_files = {f".hydra/{name}.yaml" for name in ("config", "hydra", "overrides", "names")}
    tables = {"accuracy_matrix.csv", "class_counts.csv", "tasks.csv", "table.md", "metrics.jsonl"}
    about = {"summary.json", "env.json", "config.yaml"}
    assert names == tables | about | figures | hydra_files | {"checkpoints/model.safetensors"}
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert {tuple(line) for line in lines} == {("step", "phase", "task", "split", "metric", "value")}
    assert sum(line["metric"] == "accuracy" for line in lines) == 12
    assert sum(line["metric"] == "loss" for line in lines) == 6
    found = summary(folder)
    assert {key: found[key] for key in ("schema", "status", "family", "technique", "data", "model", "seed")} == {
        "schema": 1,
        "status": "done",
        "family": "lifelong",
        "technique": "gem",
        "data": "permuted_digits",
        "model": "mlp",
        "seed": 7,
    }
    assert found["costs"]["memory_bytes"] == 30 * (64 + 8 + 8)
    assert found["costs"]["samples_processed"] == 3 * 60 * 2
    assert found["costs"]["samples_replayed"] == 12 * (10 + 20)
    environment = json.loads((folder / "env.json").read_text())
    assert {"versions", "device", "git_commit", "command", "started", "ended"} <= set(environment)
    assert "${" not in (folder / "config.yaml").read_text()


def test_plain_training_reports_test_accuracy(mlbench, tmp_path):
    code, text, _ = mlbench()
    assert code == 0
    assert summary(only_run(tmp_path / "out"))["metrics"]["accuracy"] > 0.95
    assert "accuracy" in text


def test_costs_say_what_bounds_cost(mlbench, tmp_path):
    found = {}
    for method in ("finetune", "cumulative", "independent", "joint"):
        assert mlbench(f"lifelong={method}", *SMALL)[0] == 0
        found[method] = summary(next((tmp_path / "out" / "lifelong").glob(f"{method}-*/*")))["costs"]
    assert found["finetune"]["samples_processed"] == found["joint"]["samples_processed"] == 3 * 60 * 2
    assert found["cumulative"]["samples_processed"] == (1 + 2 + 3) * 60 * 2
    assert found["independent"]["parameters"] == 3 * found["finetune"]["parameters"]


def test_all_methods_meet_the_same_tasks_network_and_untrained_accuracy_at_one_seed(mlbench, tmp_path):
    first_rows = set()
    for method in ("finetune", "ewc", "gem", "independent", "cumulative"):
        assert mlbench(f"lifelong={method}", *SMALL, "seed=5")[0] == 0
        table = next((tmp_path / "out" / "lifelong").glob(f"{method}-*/*")) / "accuracy_matrix.csv"
        first_rows.add("".join(table.read_text().splitlines()[1:3]))  # untrained, and after the first task
    assert len(first_rows) == 1


def test_strength_changes_the_result_and_zero_is_finetuning(mlbench, tmp_path):
    rows = {}
    for words in (("lifelong=finetune",), *(("lifelong=ewc", f"lifelong.strength={s}") for s in (0, 1, 1000))):
        assert mlbench(*words, *SMALL, "train.lr=0.3", "data.train_per_task=300")[0] == 0
        newest = max(folders(tmp_path / "out"), key=lambda folder: folder.stat().st_mtime_ns)
        rows[words[-1]] = (newest / "accuracy_matrix.csv").read_text()
    assert rows["lifelong=finetune"] == rows["lifelong.strength=0"]
    assert len(set(rows.values())) == 3


def test_an_operation_that_is_not_deterministic_is_named(mlbench, tmp_path):
    """torch has no deterministic way to undo a pooling on any device; on CUDA it lacks more."""
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "model" / "undoing.yaml").write_text("_target_: undoing.Undoing\n")
    (tmp_path / "mine" / "undoing.py").write_text(
        "from torch.nn import functional as F\nfrom mlbench.models.mlp import MLP\n\n\nclass Undoing(MLP):\n"
        "    def __init__(self, input_shape, outputs):\n        super().__init__(input_shape, outputs, [4])\n\n"
        "    def forward(self, x):\n"
        "        if self.training:\n            x = F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2)\n"
        "        return super().forward(x)\n"
    )
    words = ("--config-dir", str(tmp_path / "mine"), "model=undoing", "data=digits", "train.epochs=1")
    code, _, error = mlbench(*words, "deterministic=true")
    assert code == 1
    assert "Traceback" not in error
    told = "has no deterministic implementation; take deterministic=false, or device=cpu"
    assert f"mlbench: max_unpooling2d_forward_out {told}" in error
    assert mlbench(*words, "deterministic=false")[0] == 0


def test_memory_protects(mlbench, tmp_path):
    """GEM and EWC against fine-tuning on the digits: the reason for all this, in miniature."""
    transfer = {}
    for method in ("finetune", "gem"):
        assert mlbench(f"lifelong={method}", "data.train_per_task=500")[0] == 0
        transfer[method] = summary(next((tmp_path / "out" / "lifelong").glob(f"{method}-*/*")))["metrics"]
    assert transfer["gem"]["backward_transfer"] > transfer["finetune"]["backward_transfer"] + 0.1
    assert transfer["gem"]["average_accuracy"] > transfer["finetune"]["average_accuracy"] + 0.1


def test_single_runs_never_share_a_folder(mlbench, tmp_path):
    for _ in range(3):
        assert mlbench("train.epochs=1")[0] == 0
    assert len(folders(tmp_path / "out")) == 3


def test_the_same_command_gives_the_same_metrics(mlbench, tmp_path):
    for _ in range(2):
        assert mlbench("lifelong=gem", *SMALL)[0] == 0
    a, b = folders(tmp_path / "out")
    assert (a / "metrics.jsonl").read_bytes() == (b / "metrics.jsonl").read_bytes()


def test_keep_says_which_checkpoints_stay(mlbench, tmp_path):
    for keep, count in (("last", 1), ("tasks", 1 + 3), ("all", 1 + 3 + 3 * 2)):
        assert mlbench("lifelong=finetune", *SMALL, f"keep={keep}", f"seed={count}")[0] == 0
        newest = max(folders(tmp_path / "out"), key=lambda folder: folder.stat().st_mtime_ns)
        assert len(list((newest / "checkpoints").iterdir())) == count


def test_load_gives_an_ordinary_module_with_its_preprocessing(mlbench, tmp_path):
    from mlbench.data.datasets.digits import Digits

    assert mlbench()[0] == 0
    folder = only_run(tmp_path / "out")
    digits = Digits().load(None)
    for place in (folder, folder / "checkpoints" / "model.safetensors", str(folder)):
        net = package.load(place)
        assert not net.training
        accuracy = (net(digits.x_test).argmax(1) == digits.y_test).float().mean().item()
        assert accuracy == pytest.approx(summary(folder)["metrics"]["accuracy"])
    with pytest.raises(UserError, match="does not exist"):
        package.load(tmp_path / "nowhere.pt")


def test_checkpoint_starts_from_a_trained_model_and_refuses_another(mlbench, tmp_path):
    assert mlbench()[0] == 0
    first = only_run(tmp_path / "out")
    code, _, error = mlbench(f"checkpoint={first}", "train.epochs=1", "train.lr=1e-9")
    assert code == 0, error
    runs = [summary(folder)["metrics"]["accuracy"] for folder in folders(tmp_path / "out")]
    assert runs[0] == runs[1]
    code, _, error = mlbench(f"checkpoint={first}", "model.hidden=[7]")
    assert code == 2
    assert "is of another model: MLP {'hidden': [100, 100]" in error
    file = first / "checkpoints" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    code, _, error = mlbench(f"checkpoint={first}")
    assert (code, "truncated" in error) == (2, True)
    torch.save({"weights": os.system}, file)
    code, _, error = mlbench(f"checkpoint={file}")
    assert (code, "could run code when read" in error) == (2, True)
    assert len(folders(tmp_path / "out")) == 2


def test_independent_networks_can_all_be_loaded(mlbench, tmp_path):
    assert mlbench("lifelong=independent", *SMALL)[0] == 0
    folder = only_run(tmp_path / "out")
    names = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert names == ["answers_task_01.safetensors", "answers_task_02.safetensors", "model.safetensors"]
    weights = [package.load(folder / "checkpoints" / name)[1][1].weight for name in names]
    assert not torch.equal(weights[0], weights[1])


def test_the_network_after_each_task_is_kept_beside_what_answers_for_it(mlbench, tmp_path):
    assert mlbench("lifelong=icarl", *SMALL, "keep=tasks")[0] == 0
    kept = only_run(tmp_path / "out") / "checkpoints"
    names = [f"{name}_{task:02d}.safetensors" for name in ("answers_task", "task") for task in (1, 2, 3)]
    assert sorted(path.name for path in kept.iterdir()) == sorted([*names, "model.safetensors"])
    assert [isinstance(package.load(kept / name)[1], NearestMean) for name in names] == [True] * 3 + [False] * 3


@pytest.mark.usefixtures("figures")
def test_a_sweep_skips_what_is_finished_and_compares_with_error_bars(mlbench, tmp_path):
    code, text, error = mlbench("-m", "lifelong=finetune,joint", "seed=0,1", *SMALL)
    assert code == 0, error
    assert "±" in text
    assert len(folders(tmp_path / "out")) == 4
    before = {folder: (folder / "summary.json").stat().st_mtime_ns for folder in folders(tmp_path / "out")}
    code, text, error = mlbench("-m", "lifelong=finetune,joint", "seed=0,1,2", *SMALL)
    assert error.count("finished before") == 4
    after = {folder: (folder / "summary.json").stat().st_mtime_ns for folder in folders(tmp_path / "out")}
    assert len(after) == 6
    assert before.items() <= after.items()
    newest = max((tmp_path / "out" / "sweeps").iterdir())
    table = (newest / "sweep.csv").read_text()
    row = next(line for line in table.splitlines() if line.startswith("joint,average_accuracy,"))
    values = [summary(f)["metrics"]["average_accuracy"] for f in after if f.parent.name.startswith("joint")]
    mean, half, runs = (float(value) for value in row.split(",")[2:])
    assert (mean, runs) == (pytest.approx(np.mean(values)), 3)
    assert half == pytest.approx(4.302653 * np.std(values, ddof=1) / np.sqrt(3), rel=1e-5)
    assert (newest / "average_accuracy.png").stat().st_size > 5000


def test_a_bad_point_of_a_sweep_leaves_the_others_alone(mlbench, tmp_path):
    code, text, error = mlbench("-m", "lifelong=finetune", "train.lr=0.1,-1,0.2", *SMALL)
    assert code == 2
    assert "1 of 3 jobs failed" in error
    assert "train.lr=-1.0: allowed is above 0" in error
    assert len(folders(tmp_path / "out")) == 2
    assert "train.lr=0.2" in text


def test_a_sweep_that_cannot_be_composed_leaves_nothing(mlbench, tmp_path):
    code, _, error = mlbench("-m", "lifelong=finetune,gme")
    assert (code, "did you mean 'gem'" in error) == (2, True)
    assert not (tmp_path / "out").exists()


def test_divergence_ends_the_run_and_keeps_what_was_measured(mlbench, tmp_path):
    words = ("lifelong=ewc", "lifelong.strength=1e6", "lifelong.penalty=gradient", *SMALL)
    code, _, error = mlbench(*words)
    assert code == 1
    assert "task 2 (permutation 2): the loss became" in error
    assert "try a smaller train.lr" in error
    folder = only_run(tmp_path / "out")
    assert not (folder / "summary.json").exists()
    assert sum('"accuracy"' in line for line in (folder / "metrics.jsonl").read_text().splitlines()) == 6
    assert mlbench(*(word for word in words if "penalty" not in word))[0] == 0


def test_a_measurement_that_fails_does_not_lose_what_was_learned(mlbench, tmp_path, monkeypatch):
    from mlbench.lifelong import runner

    calls, accuracy = [], runner.accuracy

    def fails_once(*arguments):
        calls.append(1)
        if len(calls) == 8:
            raise RuntimeError("metric broke")
        return accuracy(*arguments)

    assert mlbench("lifelong=ewc", *SMALL)[0] == 0
    whole = only_run(tmp_path / "out")
    expected = (whole / "metrics.jsonl").read_bytes()
    monkeypatch.setattr(runner, "accuracy", fails_once)
    assert mlbench("lifelong=ewc", *SMALL)[0] == 1
    (cut_off,) = set(folders(tmp_path / "out")) - {whole}
    assert mlbench(f"resume={cut_off}", out=False)[0] == 0
    assert (cut_off / "metrics.jsonl").read_bytes() == expected


def start(words, out):
    """The command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "mlbench", *words, *([f"out={out}"] if out else [])],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a shell in the background ignores Ctrl-C and hands that down
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def newer(place, than):
    """Whether there is a checkpoint below `place`, written after `than` (ns)."""
    return any(path.stat().st_mtime_ns > than for path in place.rglob("last.pt"))


def kill(process, place, delay):
    """SIGKILL, `delay` seconds after the next checkpoint appeared; the run must not have finished by then."""
    began = time.time_ns()
    while not newer(place, began):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    time.sleep(delay)
    assert process.poll() is None, "the run was over before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.communicate()


LONGER = ("data.tasks=4", "data.train_per_task=400", "data.test_per_task=50", "train.epochs=25", "train.momentum=0.5")


def kill_and_resume(tmp_path, words, times, longest):
    """Run once in peace, then again with kills at random moments; both runs' folders."""
    process = start(words, tmp_path / "whole")
    _, error = process.communicate()
    assert process.returncode == 0, error
    draws = random.Random(0)
    kill(start(words, tmp_path / "cut"), tmp_path / "cut", draws.uniform(0, longest))
    cut = only_run(tmp_path / "cut")
    for _ in range(times - 1):
        kill(start([f"resume={cut}"], None), cut, draws.uniform(0, longest))
    process = start([f"resume={cut}"], None)
    _, error = process.communicate()
    assert process.returncode == 0, error
    assert "going on with" in error
    return only_run(tmp_path / "whole"), cut


def check_equal(whole, cut):
    assert (whole / "metrics.jsonl").read_bytes() == (cut / "metrics.jsonl").read_bytes()
    first, second = summary(whole), summary(cut)
    assert first["metrics"] == second["metrics"]
    for name in ("samples_processed", "samples_replayed", "state_bytes", "memory_bytes", "parameters"):
        assert first["costs"].get(name) == second["costs"].get(name)
    weights = [read_tensors(f / "checkpoints" / "model.safetensors")["weights"] for f in (whole, cut)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_killed_run_goes_on_bit_for_bit(tmp_path, monkeypatch):
    monkeypatch.setenv("MLBENCH_SAVE_SECONDS", "0.05")
    words = ["lifelong=gem", *LONGER, "lifelong.memory_total=200", "train.epochs=15"]
    check_equal(*kill_and_resume(tmp_path, words, times=1, longest=0.5))


@pytest.mark.slow
@pytest.mark.parametrize("method", [*METHODS, None])
def test_every_method_survives_kills_at_random_moments(tmp_path, monkeypatch, method):
    monkeypatch.setenv("MLBENCH_SAVE_SECONDS", "0.05")
    enough = (
        [] if method == "gem" else ["data.train_per_task=1400", "train.epochs=40"]
    )  # seconds of work to be killed in
    plain = ["train.epochs=300", "train.augment=crop_flip", "model=cnn", "train.validation=0.1", "train.patience=300"]
    words = [f"lifelong={method}", *LONGER, *enough, "data.scenario=domain"] if method else plain
    check_equal(*kill_and_resume(tmp_path, words, times=4, longest=0.5))


def test_an_interrupted_run_of_ones_own_says_how_it_is_found_again():
    told = str(Interrupted(Path("outputs/x"), (Path("mine"),)))
    assert told == "interrupted; go on with: mlbench --config-dir mine resume=outputs/x"


CTRL_C = pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), CTRL_C])
def test_a_signal_leaves_a_checkpoint_of_that_moment(mlbench, tmp_path, monkeypatch, sent, code):
    """Within a task, long before the next checkpoint is due."""
    words = ("lifelong=ewc", *LONGER, "data.tasks=2", "train.epochs=100")
    assert mlbench(*words)[0] == 0
    monkeypatch.setenv("MLBENCH_SAVE_SECONDS", "1000")
    process = start(words, tmp_path / "cut")
    while not (saved := list((tmp_path / "cut").rglob("last.pt"))):  # after the first task
        time.sleep(0.02)
    before = saved[0].stat().st_mtime_ns
    time.sleep(0.1)
    process.send_signal(sent)
    _, error = process.communicate()
    assert process.returncode == code, error
    folder = only_run(tmp_path / "cut")
    assert f"mlbench resume={folder}" in error
    assert "Traceback" not in error
    assert not (folder / ".lock").exists()
    assert saved[0].stat().st_mtime_ns > before
    _, _, error = mlbench(f"resume={folder}", out=False)
    assert "going on with" in error
    check_equal(only_run(tmp_path / "out"), folder)
    assert summary(folder)["status"] == "done"


def test_resume_refuses_what_it_cannot_go_on_with(mlbench, tmp_path):
    assert mlbench("train.epochs=1")[0] == 0
    folder = only_run(tmp_path / "out")
    code, _, error = mlbench(f"resume={folder}", out=False)
    assert (code, "finished before" in error) == (0, True)
    (folder / "summary.json").unlink()
    (folder / "checkpoints" / "last.pt").write_bytes(b"half a checkp")
    code, _, error = mlbench(f"resume={folder}", out=False)
    assert (code, "last.pt" in error) == (2, True)
    (folder / "config.yaml").write_text("{: broken")
    code, _, error = mlbench(f"resume={folder}", out=False)
    assert (code, "config.yaml" in error) == (2, True)


def test_resume_keeps_threads_and_never_begins_anew(mlbench, tmp_path):
    assert mlbench("train.epochs=1", "threads=2", "force=true")[0] == 0
    folder = only_run(tmp_path / "out")
    before = (folder / "summary.json").read_bytes()
    assert mlbench(f"resume={folder}", out=False)[0] == 0
    assert (folder / "summary.json").read_bytes() == before
    (folder / "summary.json").unlink()
    started = json.loads((folder / "env.json").read_text())["started"]
    assert mlbench(f"resume={folder}", out=False)[0] == 0
    environment = json.loads((folder / "env.json").read_text())
    assert (environment["threads"], environment["started"], len(environment["resumed"])) == (2, started, 1)
    assert json.loads((folder / "summary.json").read_text())["status"] == "done"


def test_what_a_run_was_begun_with_is_kept_when_other_code_goes_on_with_it(monkeypatch, tmp_path):
    made = []
    for commit, version in (("a", "1"), ("b", "2"), ("c", "3")):
        monkeypatch.setattr(provenance, "git_commit", lambda commit=commit: commit)
        monkeypatch.setattr(provenance.metadata, "version", lambda package, version=version: version)
        made.append(provenance.environment(torch.device("cpu"), tmp_path, []))
        (tmp_path / "env.json").write_text(json.dumps(made[-1]))
    assert [(one["git_commit"], one["versions"]["torch"]) for one in made] == [("a", "1")] * 3
    by = made[2]["resumed_by"]
    assert [(one["git_commit"], one["versions"]["torch"]) for one in by] == [("b", "2"), ("c", "3")]
    assert len(made[2]["resumed"]) == 2
    for commit in "abc":
        monkeypatch.setattr(provenance, "git_commit", lambda commit=commit: commit)
        assert "another commit" in provenance.outdated(tmp_path, [])
    (tmp_path / "env.json").write_text(json.dumps({**made[0], "resumed": [made[0]["started"]]}))  # as it was once
    assert provenance.outdated(tmp_path, []) == "by another commit of mlbench"
    monkeypatch.setattr(provenance, "git_commit", lambda: "a")
    assert provenance.outdated(tmp_path, []) == ""


def test_metrics_stay_whole_over_two_interruptions(tmp_path):
    """The second process cuts metrics.jsonl back and saves before it writes the next line."""
    from mlbench.runs.console import Display
    from mlbench.runs.run_dir import Run
    from mlbench.runs.tracking import Tracker

    (tmp_path / "run").mkdir()

    def opened():
        return Run(tmp_path / "run", {}, "last", torch.device("cpu"), Display(), Tracker(None, "", {}))

    with opened() as run:
        assert run.saved() is None
        run.log(1, "train", 1, "train", "loss", 0.5)
        run.save({"network": {}})
        run.log(2, "train", 1, "train", "loss", 0.25)
    with opened() as run:
        run.saved()
        run.save({"network": {}})
    with opened() as run:
        run.saved()
        run.log(2, "train", 1, "train", "loss", 0.25)
    lines = [json.loads(line)["step"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines == [1, 2]


def test_load_of_a_model_of_the_users_own(mlbench, tmp_path):
    conf = tmp_path / "mine"
    (conf / "model").mkdir(parents=True)
    (conf / "own_net.py").write_text(
        "from torch import nn\n\nclass Net(nn.Sequential):\n    def __init__(self, input_shape, outputs):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(64, outputs))\n"
    )
    (conf / "model" / "mine.yaml").write_text("# mine\n_target_: own_net.Net\n")
    assert mlbench("--config-dir", str(conf), "model=mine", "train.epochs=1")[0] == 0
    folder = only_run(tmp_path / "out")
    code = "import sys, mlbench; print(len(mlbench.load(sys.argv[1], config_dir=sys.argv[2])))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder), str(conf)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "2"
    sys.modules.pop("own_net", None)


def test_two_processes_do_not_work_on_one_folder(mlbench, tmp_path):
    import fcntl

    assert mlbench("train.epochs=1")[0] == 0
    folder = only_run(tmp_path / "out")
    (folder / "summary.json").unlink()
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, _, error = mlbench(f"resume={folder}", out=False)
    assert (code, "another process" in error) == (2, True)


def test_validation_uses_training_data_only(mlbench, tmp_path):
    assert mlbench("train.validation=0.2", "train.patience=2", "train.epochs=200", "train.lr=0.3")[0] == 0
    found = summary(only_run(tmp_path / "out"))
    assert found["costs"]["samples_processed"] % 1150 == 0  # 1,437 less a fifth
    assert found["costs"]["samples_processed"] < 200 * 1150


@pytest.mark.parametrize("preset", sorted(entries("experiment")))
def test_presets_compose_with_methods(mlbench, preset):
    # settings of a method, in a preset that has some, must not stop another method; the other presets need only one
    has_settings = "lifelong" in (conf_folder() / "experiment" / f"{preset}.yaml").read_text()
    for method in METHODS if has_settings else METHODS[:1]:
        code, text, error = mlbench(f"experiment={preset}", f"lifelong={method}", "--cfg", "job", "--resolve")
        assert code == 0, error
        assert OmegaConf.create(text).lifelong is not None
