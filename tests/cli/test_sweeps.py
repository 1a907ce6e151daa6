"""Sweeps that are interrupted, that run side by side and in many processes: no result is lost, and none differs."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from PIL import Image

from mlbench.cli.launchers import slurm, worker_pool
from mlbench.core import atomic_io
from mlbench.core.config_groups import conf_folder
from mlbench.core.errors import RunError, SettingError, UserError
from mlbench.core.file_lock import locked
from mlbench.runs.sweep_log import read_jobs, write_job
from mlbench.training.device import choose_threads

TINY = ("data.tasks=2", "data.train_per_task=60", "data.test_per_task=50", "train.epochs=1", "model.hidden=[8]")
PARALLEL = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")


@pytest.fixture
def start():
    """A function that starts the command as the leader of a process group, which ends with the test."""
    begun = []

    def command(words, out, **environment):
        process = subprocess.Popen(
            [sys.executable, "-m", "mlbench", *words, f"out={out}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, **environment},
            # a shell in the background ignores Ctrl-C and hands that down
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        begun.append(process)
        return process

    yield command
    for process in begun:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def ended(process, code=0):
    """Its stdout and stderr, once it has ended with that exit code."""
    text, error = process.communicate()
    assert process.returncode == code, error
    return text, error


def numbers(out):
    """All that runs measured: run -> lines, and the table of the newest sweep without what depends on the clock."""
    runs = {str(path.parent.relative_to(out)): path.read_text() for path in out.glob("*/*/*/metrics.jsonl")}
    table = (max((out / "sweeps").glob("*/sweep.csv"))).read_text().splitlines()
    return runs, [row for row in table if "seconds" not in row]


def litter(out):
    return [path for path in out.rglob("*") if path.name == ".lock" or ".part" in path.name]


def children(pid):
    """The processes that a process has started and that still run."""
    place = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in place.read_text().split()]


def until(what):
    """Wait until something is so, and give it back."""
    for _ in range(6000):
        if found := what():
            return found
        time.sleep(0.01)
    raise AssertionError("waited for a minute")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["seeds=0"], "seeds=0: allowed is a whole number from 1"),
        (["seeds=x"], "seeds=x: allowed is"),
        (["seeds="], "seeds=: allowed is"),
        (["seeds=1,2"], "seeds=1,2: allowed is"),
        (["seeds=2", "seed=3"], "seeds=2 and seed=3 are both set"),
        (["-m", "++seed=1,2", "seeds=2"], "seeds=2 and ++seed=1,2 are both set"),
        (["seeds=2", "hydra/launcher=joblib", "hydra.launcher.n_jobs=0"], "hydra.launcher.n_jobs=0: allowed is"),
        *(
            (["seeds=2", "hydra/launcher=joblib", f"hydra.launcher.n_jobs={n}"], f"n_jobs={told}: must be a whole")
            for n, told in (("null", None), ("abc", "abc"), ("1.5", 1.5))
        ),
        (
            ["seeds=2", "hydra/launcher=submitit_slurm", "hydra.launcher.timeout_min=abc"],
            "hydra.launcher.timeout_min=abc: must be a whole number",
        ),
        (["seeds=2", "--multirun", "--cfg", "job"], "--cfg shows the config of one run"),
        (["seeds=2", "hydra/launcher=slurm"], "there are: basic, joblib, "),
        (["seeds=2", "hydra/launcher=submitit_slurm", "hydra.launcher.cluster=cloud"], "cluster=cloud: allowed is"),
    ],
)
def test_error_messages_of_a_sweep_have_at_most_two_lines(mlbench, tmp_path, words, told):
    code, text, error = mlbench(*words)
    assert (code, text) == (2, "")
    assert told in error
    assert len(error.splitlines()) <= 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("inner", [".", "sweep", "sweep/again"])
@pytest.mark.parametrize("full", [True, False])
def test_a_sweep_that_never_began_removes_its_own_folders_only(mlbench, tmp_path, inner, full):
    own = tmp_path / "own"
    own.mkdir()
    if full:
        (own / "table.csv").touch()
    words = ("-m", "seed=0,1", "hydra/launcher=joblib", "hydra.launcher.n_jobs=0")
    assert mlbench(*words, f"hydra.sweep.dir={own / inner}")[0] == 2
    assert own.exists()
    assert {path.name for path in own.iterdir()} - {"multirun.yaml"} == ({"table.csv"} if full else set())


def test_jobs_of_one_kind_are_composed_once_before_the_first_begins(tmp_path, mlbench, monkeypatch):
    """What Hydra's own sweeper does for every job; the second composition is that of the job itself."""
    composed = []
    compose = ConfigLoaderImpl.load_sweep_config

    def count(loader, master_config, sweep_overrides):
        composed.append(" ".join(sweep_overrides))
        return compose(loader, master_config, sweep_overrides)

    monkeypatch.setattr(ConfigLoaderImpl, "load_sweep_config", count)
    words = ("-m", "data=digits,wine", "seed=0,1,2", "train.epochs=1", "model=mlp")
    assert mlbench(*words)[0] == 0
    assert len(composed) == 2 + 6
    composed.clear()
    code, _, error = mlbench("-m", "seed=7,8", "data=digits,wien")
    assert code == 2
    assert "wien" in error
    assert [job.rpartition(" out=")[0] for job in composed] == [
        "seed=7 data=digits",
        "seed=7 data=wien",
    ]  # found before the first job ran


def test_jobs_share_config_files_and_nothing_else(monkeypatch):
    """Against Hydra's own reading of the files, before and after a job that changed what it was given."""
    jobs = [["data=wine"], ["model=mlp", "model.hidden=[4]", "+train.new=1"], ["model=mlp"], ["lifelong=gem"], []]
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        alone = [compose("config", overrides=job) for job in jobs]
        from mlbench.cli.sweeper import ConfigFiles  # not before Hydra has found its plugins: it loads the base anew

        loader = GlobalHydra.instance().config_loader()
        loader.repository = files = ConfigFiles(loader.repository)
        assert [compose("config", overrides=job) for job in jobs + jobs] == alone + alone
        monkeypatch.setattr(files.delegate, "load_config", None)  # nothing is read again
        assert [compose("config", overrides=job) for job in jobs] == alone


def test_the_same_run_twice_is_one_measurement(mlbench, tmp_path):
    assert mlbench("-m", "seed=0,0", "train.epochs=1", "data.train_examples=100")[0] == 0
    (table,) = (tmp_path / "out" / "sweeps").glob("*/sweep.csv")
    assert {row.rpartition(",")[2] for row in table.read_text().splitlines()[1:]} == {"1"}


def test_seeds_are_short_for_a_sweep_over_seed(mlbench, tmp_path):
    code, text, error = mlbench("seeds=3", "train.epochs=1", "train.lr=0.1,0.2")
    assert code == 0, error
    summaries = [json.loads(path.read_text()) for path in (tmp_path / "out").glob("plain/*/*/summary.json")]
    assert sorted(found["seed"] for found in summaries) == [0, 0, 1, 1, 2, 2]
    _, _, error = mlbench("-m", "train.lr=0.2", "seed=2,1,0", "train.epochs=1")
    assert error.count("finished before") == 3
    _, text, _ = mlbench("seeds=2", "--cfg", "job")
    assert "seed: 0" in text


@pytest.mark.parametrize(
    ("jobs", "cores", "wanted", "threads", "found"),
    [
        (15, 8, -1, None, (8, 1)),
        (3, 8, -1, None, (3, 2)),
        (15, 8, 2, None, (2, 4)),
        (15, 8, -1, 4, (2, 4)),
        (15, 8, -1, 16, (1, 16)),
        (15, 2, 6, None, (6, 1)),
    ],
)
def test_jobs_share_the_cores_of_a_machine(jobs, cores, wanted, threads, found):
    assert worker_pool.shares(jobs, cores, wanted, threads) == found


def test_auto_threads_keep_to_the_share_of_a_job(monkeypatch):
    import torch
    from torch import nn

    monkeypatch.setattr("joblib.cpu_count", lambda: 8)
    large = nn.Sequential(nn.Conv2d(3, 64, 3), nn.Conv2d(64, 64, 3))
    for said, threads in (("", 8), ("2", 2), ("20", 8), ("none", 8)):
        monkeypatch.setenv("OMP_NUM_THREADS", said)
        assert choose_threads("auto", large, torch.zeros(1, 3, 32, 32), 32) == threads


def test_bad_shares_are_refused():
    with pytest.raises(SettingError, match="n_jobs=-2"):
        worker_pool.shares(3, 8, -2, None)


def test_incomplete_lines_and_repeated_jobs_are_ignored(tmp_path):
    write_job(tmp_path, 1, None, ["seed=1"], RunError("first"))
    with (tmp_path / "jobs.jsonl").open("a") as jobs:
        jobs.write('{"number": 2, "fol')
    write_job(tmp_path, 0, None, ["seed=0", "train.lr=1"], None)
    write_job(tmp_path, 1, None, ["seed=1"], None)
    found = read_jobs(tmp_path)
    assert [(job["number"], job["job"], job["label"], job["failure"]) for job in found] == [
        (0, "seed=0 train.lr=1", "train.lr=1", None),
        (1, "seed=1", "default", None),
    ]


def note(folder, process):
    for number in range(100):
        write_job(folder, 100 * process + number, None, ["x=" + "y" * 5000], None)


def test_many_processes_append_to_one_list(tmp_path):
    words = [
        sys.executable,
        "-c",
        "import sys; from tests.cli.test_sweeps import *; note(Path(sys.argv[1]), int(sys.argv[2]))",
    ]
    root = Path(__file__).resolve().parents[2]
    several = [subprocess.Popen([*words, str(tmp_path), str(number)], cwd=root) for number in range(3)]
    assert [process.wait() for process in several] == [0, 0, 0]
    lines = (tmp_path / "jobs.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["number"] for line in lines) == list(range(300))


def test_a_folder_is_created_once_and_leftovers_of_killed_processes_are_removed(tmp_path):
    folder, left = tmp_path / "run", tmp_path / ".run.01234567.part"
    left.mkdir()
    atomic_io.create_folder(folder, {"a": "first"})
    atomic_io.create_folder(folder, {"a": "second"})
    assert (folder / "a").read_text() == "first"
    atomic_io.create_folder(folder, {"a": "third"}, replace=True)
    assert (folder / "a").read_text() == "third"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_lock_is_waited_for_or_refused_and_leaves_nothing(tmp_path):
    with locked(tmp_path / ".lock", wait=False):
        with pytest.raises(UserError, match="another process"), locked(tmp_path / ".lock", wait=False):
            pass
        assert (tmp_path / ".lock").exists()
    assert not list(tmp_path.iterdir())


def test_jobs_in_processes_give_the_numbers_of_jobs_in_a_row(start, tmp_path):
    words = ("lifelong=finetune,er", "seeds=2", *TINY)
    ended(start(words, tmp_path / "row"))
    text, error = ended(start((*words, *PARALLEL), tmp_path / "many"))
    assert numbers(tmp_path / "row") == numbers(tmp_path / "many")
    assert "4 jobs, 2 at once" in error
    assert error.count(": done") == 4
    assert "±" in text
    assert not litter(tmp_path)


def test_in_processes_bad_points_leave_the_others_alone(start, tmp_path):
    words = ("lifelong=finetune", "seeds=2", "train.lr=0.1,-1", *TINY, *PARALLEL)
    _, error = ended(start(words, tmp_path), 2)
    (told,) = tmp_path.glob("sweeps/*/failures.txt")
    assert "2 of 4 jobs failed" in error
    assert error.count("seed=1: failed, see ") == 1
    assert told.read_text().count("train.lr=-1.0: allowed is above 0") == 2
    assert len(list(tmp_path.glob("*/*/*/summary.json"))) == 2


LONG = ("lifelong=finetune", "data.tasks=3", "data.train_per_task=500", "train.epochs=60")


@pytest.mark.slow
def test_a_killed_process_costs_one_job(start, tmp_path):
    process = start((*LONG, "seeds=4", *PARALLEL), tmp_path)
    workers_ = until(lambda: len(found := children(process.pid)) == 2 and found)
    os.kill(workers_[0], signal.SIGKILL)
    _, error = ended(process, 1)
    assert "seed=0: its process was killed" in error
    assert "1 of 4 jobs failed" in error
    assert len(list(tmp_path.glob("*/*/*/summary.json"))) == 3
    _, error = ended(start((*LONG, "seeds=4", *PARALLEL), tmp_path))
    assert len(list(tmp_path.glob("*/*/*/summary.json"))) == 4


@pytest.mark.parametrize("end", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow), signal.SIGKILL])
def test_jobs_end_with_the_sweep(start, tmp_path, end):
    """After Ctrl-C, when the sweep is asked to stop, or when nobody is left to wait for them."""
    process = start((*LONG, "train.epochs=100000", "seeds=2", *PARALLEL), tmp_path)
    until(lambda: len(list(tmp_path.glob("*/*/*/.lock"))) == 2)
    workers_ = children(process.pid)
    process.send_signal(end)
    _, error = ended(process, -9 if end == signal.SIGKILL else 128 + end)
    assert ("the same command goes on" in error) == (end != signal.SIGKILL)
    until(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers_))
    assert "Traceback" not in "".join(log.read_text() for log in tmp_path.glob("sweeps/*/logs/*"))
    assert not litter(tmp_path)


@pytest.mark.parametrize("force", ["true", pytest.param("false", marks=pytest.mark.slow)])
def test_a_preempted_job_of_a_cluster_goes_back_into_the_queue(start, tmp_path, force):
    """With submitit's stand-in for a cluster (scripts/try_slurm.py has a real one); force begins it anew only once."""
    words = (*LONG, "train.epochs=80", "seeds=1", f"force={force}")
    ended(start(words, tmp_path / "row"))
    out, cluster = tmp_path / "cluster", ("hydra/launcher=submitit_slurm", "hydra.launcher.cluster=local")
    process = start((*words, *cluster), out, MLBENCH_SAVE_SECONDS="0.1")
    until(lambda: list(out.glob("*/*/*/checkpoints/last.pt")))
    (controller,) = children(process.pid)
    (job,) = children(controller)
    os.kill(job, signal.SIGUSR2)
    ended(process)
    assert numbers(tmp_path / "row") == numbers(out)
    (environment,) = out.glob("*/*/*/env.json")
    assert len(json.loads(environment.read_text())["resumed"]) == 1


class Queued:
    """A job of a cluster that has ended, waits, or is gone without a result."""

    def __init__(self, folder, name, failure=None):
        self.job_id, self.failure = name, failure
        self.paths = SimpleNamespace(result_pickle=folder / name, stderr=f"{name}.err")

    def exception(self):
        return self.failure


def test_jobs_that_a_cluster_loses_are_noted(tmp_path, monkeypatch):
    monkeypatch.setattr(slurm, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(slurm, "QUEUE_SECONDS", 0.0)
    (tmp_path / "done").touch()
    (tmp_path / "late").touch()
    jobs = [Queued(tmp_path, "done"), Queued(tmp_path, "gone"), Queued(tmp_path, "late", ValueError("a\nout of time"))]
    launcher = slurm.Slurm(**dict.fromkeys(field.name for field in fields(slurm.Slurm)))
    launcher.folder = tmp_path
    monkeypatch.setattr(launcher, "queued", lambda jobs: {"done", "late"})
    launcher.follow({number: (job, [f"seed={number}"]) for number, job in enumerate(jobs)})
    told = [(job["number"], job["failure"]["message"]) for job in read_jobs(tmp_path)]
    assert told == [(1, "its job ended without a result; see gone.err"), (2, "out of time")]


def test_missing_cluster_requirements_are_reported(mlbench, tmp_path, monkeypatch):
    words = ("seeds=2", "hydra/launcher=submitit_slurm")
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, error = mlbench(*words)
    assert (code, "slurm" in error.lower(), len(error.splitlines())) == (2, True, 1)
    monkeypatch.setitem(sys.modules, "submitit", None)
    code, _, error = mlbench(*words)
    assert (code, "pip install 'mlbench[sweep]'" in error) == (2, True)
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(find_spec("ray") is not None, reason="ray is installed")
def test_the_launcher_of_an_extra_says_which(mlbench):
    code, _, error = mlbench("seeds=2", "hydra/launcher=ray")
    assert code == 2
    assert error.endswith("needs the package hydra-ray-launcher, which is not installed; pip install 'mlbench[ray]'\n")


def test_launchers_of_the_same_name_do_not_mix_their_settings_into_ours(mlbench, monkeypatch):
    from hydra.core.config_store import ConfigStore

    node = OmegaConf.create({"_target_": "hydra_plugins.other.Other", "backend": "loky", "n_jobs": 7})
    ConfigStore.instance().store(group="hydra/launcher", name="joblib", node=node)
    code, text, error = mlbench("hydra/launcher=joblib", "--cfg", "hydra", out=False)
    assert (code, error) == (0, "")
    assert OmegaConf.create(text).hydra.launcher == {"_target_": "hydra_plugins.mlbench.Processes", "n_jobs": -1}


def test_what_is_imported_before_forking_leaves_cuda_alone():
    code = (
        "import sys, torch; from mlbench.cli.launchers.processes import import_once; asked = []; "
        "torch._C._cuda_getDeviceCount = lambda: asked.append(1) or 0; "
        "import_once(); sys.exit(bool(asked) or torch.cuda.is_initialized())"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_two_sweeps_at_once_share_a_folder(start, tmp_path):
    words = ("lifelong=finetune,er", "seeds=2", *TINY, "data.train_per_task=500", "train.epochs=30")
    several = [start(words, tmp_path / "both") for _ in range(2)]
    several.append(start((*words, *PARALLEL), tmp_path / "both"))
    tables = {"".join(row for row in ended(process)[0].splitlines() if "±" in row) for process in several}
    ended(start(words, tmp_path / "alone"))
    assert len(tables) == 1
    assert numbers(tmp_path / "both") == numbers(tmp_path / "alone")
    assert not litter(tmp_path)


@pytest.mark.slow
def test_two_sweeps_that_begin_anew_do_not_tear_each_other_apart(start, tmp_path):
    ended(start(("seeds=2", "train.epochs=1"), tmp_path))
    several = [start(("seeds=2", "train.epochs=1", "force=true"), tmp_path) for _ in range(3)]
    for process in several:
        ended(process)
    assert len(list(tmp_path.glob("*/*/*/summary.json"))) == 2
    assert not litter(tmp_path)


def test_force_makes_a_run_anew_once_in_each_sweep(mlbench, tmp_path):
    words = ("train.epochs=1", "data.train_examples=100", "force=true", "threads=1")
    made = []
    for sweep in range(2):
        code, _, error = mlbench("-m", "seed=0,0", *words)
        assert code == 0, error
        assert error.count("finished before") == 1, sweep
        (config,) = (tmp_path / "out").glob("plain/*/*/config.yaml")
        made.append(config.stat().st_mtime_ns)
    assert made[0] < made[1]


def news(out, since):
    """Whether a run of these has written anything after a time (s)."""
    return any(path.stat().st_mtime > since for path in out.glob("*/*/*/metrics.jsonl"))


def check_killed(start, tmp_path, words, launcher, draws):
    """A sweep killed three times, with all its processes, at random moments equals the same one in peace.

    Each moment lies in the first fifth of the time from the first thing that is written anew to the end, in peace: then
    there is something to lose and something left to do.
    """
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    process = start((*words, *launcher), whole)
    until(lambda: news(whole, 0))
    began = time.monotonic()
    ended(process)
    needed = time.monotonic() - began
    told = [draws.uniform(0, needed / 5) for _ in range(3)]
    for moment in told:
        since = time.time()
        process = start((*words, *launcher), cut, MLBENCH_SAVE_SECONDS="0.2")
        until(lambda since=since: news(cut, since))
        time.sleep(moment)
        assert process.poll() is None, "the sweep was over before it could be killed"
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    finished = len(list(cut.glob("*/*/*/summary.json")))
    ended(start((*words, *launcher), cut))
    assert numbers(whole) == numbers(cut)
    resumed = sum('"resumed"' in path.read_text() for path in cut.glob("*/*/*/env.json"))
    assert finished + resumed
    moments = ", ".join(f"{moment:.1f}" for moment in told)
    print(f"killed {moments} s after the first news, {needed:.0f} s in all: {finished} finished, {resumed} resumed")


@pytest.mark.slow
def test_a_sweep_killed_three_times_gives_the_same_numbers(start, tmp_path):
    words = ("lifelong=finetune,er", "seeds=2", "data.tasks=3", "data.train_per_task=500", "train.epochs=30")
    check_killed(start, tmp_path, words, PARALLEL, random.Random(0))


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [(), PARALLEL], ids=["row", "processes"])
@pytest.mark.parametrize("draw", range(2))
def test_three_methods_and_five_seeds_killed_at_random_moments(start, tmp_path, launcher, draw):
    """The sweep of the claim; other moments every time."""
    words = ("lifelong=finetune,ewc,gem", "data=permuted_digits", "seeds=5", "train.epochs=3")
    check_killed(start, tmp_path, words, launcher, random.Random())


def test_a_changed_data_file_is_reported(mlbench, tmp_path):
    pictures, labels = np.zeros((40, 4, 4), np.uint8), np.arange(40) % 2
    path = tmp_path / "mine.npz"
    np.savez(path, x_train=pictures, y_train=labels, x_test=pictures, y_test=labels)
    words = ("seeds=1", "data=npz", f"data.path={path}", "train.epochs=1", "model.hidden=[4]", "threads=1")
    assert mlbench(*words)[0] == 0
    assert CHANGED not in mlbench(*words)[2]
    os.utime(path, (time.time() + 5, time.time() + 5))
    assert "finished before" in (error := mlbench(*words)[2])
    assert f"({CHANGED}; force=true runs it anew)" in error


CHANGED = "a file that it was made from has changed since"


def test_changed_pictures_are_reported(mlbench, tmp_path):
    photos = tmp_path / "photos"
    for number in range(16):
        path = photos / ("train", "test")[number // 8] / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), 10 * number, np.uint8)).save(path)
    words = ("seeds=1", "data=image_folder", f"data.path={photos}", "data.size=8", "train.epochs=1")
    words += ("model.hidden=[4]", "threads=1", f"data_dir={tmp_path}")
    code, _, error = mlbench(*words)
    assert code == 0, error
    assert CHANGED not in mlbench(*words)[2]
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(path)
    assert CHANGED in mlbench(*words)[2]


def test_a_changed_user_module_is_reported(mlbench, tmp_path):
    (tmp_path / "mine" / "lifelong").mkdir(parents=True)
    method = tmp_path / "mine" / "plainly.py"
    method.write_text("from mlbench.lifelong.base import Method\n\n\nclass Plainly(Method):\n    pass\n")
    (tmp_path / "mine" / "lifelong" / "plainly.yaml").write_text("# as it is\n_target_: plainly.Plainly\n")
    words = ("--config-dir", str(tmp_path / "mine"), "lifelong=plainly", "data=permuted_digits", "data.tasks=2")
    words += ("seeds=1", "train.epochs=1")
    code, _, error = mlbench(*words)
    assert code == 0, error
    assert CHANGED not in mlbench(*words)[2]
    method.write_text(method.read_text() + "\n")
    assert CHANGED in mlbench(*words)[2]
    sys.modules.pop("plainly", None)


def test_a_changed_module_in_a_user_package_is_reported(mlbench, tmp_path):
    module = tmp_path / "mine" / "pkg" / "inner" / "m.py"
    hidden = tmp_path / "mine" / ".venv" / "pkg" / "m.py"
    for path in (module, hidden):
        path.parent.mkdir(parents=True)
        path.write_text("A = 1\n")
    words = ("--config-dir", str(tmp_path / "mine"), "seeds=1", "data=digits", "model=linear", "train.epochs=1")
    code, _, error = mlbench(*words)
    assert code == 0, error
    hidden.write_text("A = 12\n")  # nobody can import it from there
    assert CHANGED not in mlbench(*words)[2]
    module.write_text("A = 12\n")
    assert CHANGED in mlbench(*words)[2]
