"""Trackers of experiments: they are told what the run wrote, once, and can neither change nor stop it."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mlbench.runs.loggers.base import Logger
from mlbench.runs.loggers.mlflow import database_address, database_file
from mlbench.runs.run_dir import Run
from mlbench.runs.tracking import Tracker, flat

SMALL = ("lifelong=ewc", "data.tasks=3", "data.train_per_task=60", "train.epochs=2", "threads=1")
FAILING = """
from dataclasses import dataclass
from mlbench.runs.loggers.base import Logger

@dataclass
class Failing(Logger):
    when: str
    package = "json"

    def begin(self, folder, name, parameters, run):
        self.fail("begin")
        return "1"

    def log(self, measurements):
        self.fail("log")

    def finish(self, results, files):
        self.fail("finish")

    def close(self, done):
        self.fail("close")

    def fail(self, here):
        if here == self.when:
            raise ConnectionError(f"no answer to {here}\\nat all")
"""

OLD_SQL = pytest.mark.filterwarnings("ignore:The ``noload`` loader")  # MLflow 3.17 with SQLAlchemy 2.1


@dataclass
class Notebook(Logger):
    """Remembers what it was told."""

    told: list = field(default_factory=list)
    package = "notebook"

    def begin(self, folder, name, parameters, run):
        self.told.append(("begin", name, parameters, run))
        return run or "run 7"

    def log(self, measurements):
        self.told += measurements

    def finish(self, results, files):
        self.told.append(("finish", results, [path.name for path in files]))

    def close(self, done):
        self.told.append(("close", done))


def run_folder(out):
    (summary,) = out.rglob("summary.json")
    return summary.parent


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def opened(folder, logger):
    from torch import device

    from mlbench.runs.console import Display

    return Run(
        folder, {}, "last", device("cpu"), Display(), Tracker(logger, "a run", {"train": {"lr": 0.1}, "seed": 0})
    )


def test_settings_are_logged_under_their_full_names():
    assert flat({"a": {"b": {"c": 1}, "d": [1, 2]}, "e": None}) == {"a.b.c": 1, "a.d": [1, 2], "e": None}


def test_a_run_that_goes_on_repeats_nothing_and_loses_nothing(tmp_path):
    first, second = Notebook(), Notebook()

    def cut_off():
        with opened(tmp_path, first) as run:
            run.saved()
            run.log(1, "train", 1, "train", "loss", 0.5)
            run.save({"network": {}})
            run.log(2, "train", 1, "train", "loss", 0.25)  # never in a checkpoint: learned again
            raise KeyError

    with pytest.raises(KeyError):
        cut_off()
    with opened(tmp_path, second) as run:
        run.saved()
        run.log(2, "train", 1, "train", "loss", 0.125)
        run.save({"network": {}})
    assert first.told == [
        ("begin", "a run", {"train.lr": 0.1, "seed": 0}, None),
        ("train", "train/train/loss/task_01", 1, 0.5),
        ("close", False),
    ]
    assert second.told == [
        ("begin", "a run", {"train.lr": 0.1, "seed": 0}, "run 7"),
        ("train", "train/train/loss/task_01", 2, 0.125),
        ("close", True),
    ]


def test_another_tracker_gets_everything_from_the_beginning(tmp_path):
    @dataclass
    class Other(Notebook):
        package = "other"

    told = []
    for logger in (Notebook(), Other()):
        with opened(tmp_path, logger) as run:
            run.saved()
            run.log(len(told), "eval", 1, "test", "accuracy", 0.5)
            run.save({"network": {}})
        told.append([item.step for item in logger.told if not isinstance(item[-1], bool) and item[0] == "eval"])
    assert told == [[0], [0, 1]]


@pytest.mark.parametrize("when", ["begin", "log", "finish", "close"])
def test_a_failing_tracker_is_reported_once_and_changes_nothing(mlbench, tmp_path, when):
    own = tmp_path / "own"
    (own / "logger").mkdir(parents=True)
    (own / "logger" / "failing.yaml").write_text("# Fails\n_target_: failing_logger.Failing\nwhen: ???\n")
    (own / "failing_logger.py").write_text(FAILING)
    assert mlbench(*SMALL, f"out={tmp_path / 'without'}", out=False)[0] == 0
    words = (f"--config-dir={own}", "logger=failing", f"logger.when={when}", f"out={tmp_path / 'with'}")
    code, _, error = mlbench(*SMALL, *words, out=False)
    assert code == 0
    assert error.count("logger=json failed, the run goes on without it: no answer to") == 1
    assert "Traceback" not in error
    plain, tracked = run_folder(tmp_path / "without"), run_folder(tmp_path / "with")
    assert (plain / "metrics.jsonl").read_bytes() == (tracked / "metrics.jsonl").read_bytes()
    assert not (plain / "tracker.json").exists()


def test_a_tracker_that_is_not_installed_is_a_mistake_of_one_line(mlbench, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    code, _, error = mlbench("logger=wandb")
    assert code == 2
    assert error == (
        "mlbench: logger=wandb needs the package wandb, which is not installed; pip install 'mlbench[wandb]'\n"
    )
    assert not (tmp_path / "out").exists()


def test_a_sweep_is_not_run_again_for_a_tracker(mlbench):
    pytest.importorskip("tensorboard")
    words = ("-m", "train.epochs=1", "seed=0,1", "threads=1")
    assert mlbench(*words)[0] == 0
    code, _, error = mlbench(*words, "logger=tensorboard")
    assert (code, error.count("finished before")) == (0, 2)


def identical(mlbench, tmp_path, *words):
    """The folder of a run with a tracker, after it was compared with one without."""
    assert mlbench(*SMALL, f"out={tmp_path / 'without'}", out=False)[0] == 0
    code, _, error = mlbench(*SMALL, *words, f"out={tmp_path / 'with'}", out=False)
    assert code == 0
    assert "failed" not in error
    plain, tracked = run_folder(tmp_path / "without"), run_folder(tmp_path / "with")
    assert (plain / "metrics.jsonl").read_bytes() == (tracked / "metrics.jsonl").read_bytes()
    summaries = [json.loads((folder / "summary.json").read_text()) for folder in (plain, tracked)]
    assert summaries[0]["metrics"] == summaries[1]["metrics"]
    return tracked


@pytest.mark.usefixtures("figures")
def test_tensorboard_has_every_number_and_picture(mlbench, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = identical(mlbench, tmp_path, "logger=tensorboard")
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    found = [
        (tag, event.step, event.value)
        for tag in events.Tags()["scalars"]
        for event in events.Scalars(tag)
        if "/" in tag
    ]
    expected = [
        (f"{x['phase']}/{x['split']}/{x['metric']}/task_{x['task']:02d}", x["step"], pytest.approx(x["value"]))
        for x in lines(folder)
    ]
    costs = [item for item in found if item[0].startswith("costs/")]
    assert sorted(item for item in found if item not in costs) == sorted(expected)
    assert {"accuracy_by_task", "accuracy_matrix.csv/text_summary"} & set(
        events.Tags()["images"] + events.Tags()["tensors"]
    )


@OLD_SQL
def test_mlflow_keeps_it_all_in_its_file(mlbench, tmp_path):
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    folder = identical(mlbench, tmp_path, "logger=mlflow")
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/with/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("mlbench").experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["lifelong.strength"] == "1.0"
    summary = json.loads((folder / "summary.json").read_text())
    assert run.data.metrics["average_accuracy"] == summary["metrics"]["average_accuracy"]
    assert run.data.metrics["costs/parameters"] == summary["costs"]["parameters"]
    name = "eval/test/accuracy/task_02"
    history = [(entry.step, entry.value) for entry in client.get_metric_history(run.info.run_id, name)]
    assert history == [(x["step"], x["value"]) for x in lines(folder) if (x["phase"], x["task"]) == ("eval", 2)]
    assert {"accuracy_matrix.csv", "table.md", "tasks.csv", "figures"} == {
        item.path for item in client.list_artifacts(run.info.run_id)
    }
    assert client.list_artifacts(run.info.run_id, "figures")
    assert (tmp_path / "with" / "mlflow").is_dir()  # and nothing where the command was given


@OLD_SQL
def test_mlflow_goes_on_with_the_same_run(tmp_path):
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    words = ("lifelong=ewc", "data.tasks=30", "train.epochs=2", "threads=1", "logger=mlflow", f"out={tmp_path}")
    process = subprocess.Popen([sys.executable, "-m", "mlbench", *words], stderr=subprocess.DEVNULL)
    while not [path for path in tmp_path.rglob("tracker.json") if json.loads(path.read_text())["bytes"]]:
        assert process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    (state,) = tmp_path.rglob("tracker.json")
    command = [sys.executable, "-m", "mlbench", f"resume={state.parent}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("mlbench").experiment_id])
    assert run.info.status == "FINISHED"
    history = client.get_metric_history(run.info.run_id, "eval/test/accuracy/task_01")
    assert [entry.step for entry in history] == list(range(31))


@pytest.mark.filterwarnings("ignore")  # wandb's own
def test_wandb_offline(mlbench, tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "wandb"))
    folder = identical(mlbench, tmp_path, "logger=wandb")
    (records,) = folder.glob("wandb/offline-run-*/*.wandb")
    assert records.stat().st_size > 1000
    files = records.parent / "files"
    assert (files / "accuracy_matrix.csv").read_bytes() == (folder / "accuracy_matrix.csv").read_bytes()
    assert list(files.glob("figures/*.png"))


@pytest.mark.parametrize("name", ["plain", "what?", "a#b", "100%", "a%3Fb", "my run", "结果?x=1/y", "q?&uri=#"])
def test_the_database_of_mlflow_lies_where_the_path_says(name, tmp_path):
    """What SQLAlchemy hands to SQLite: the part before the options, as an address where they say uri=true."""
    file = tmp_path / name / "mlflow.db"
    file.parent.mkdir(parents=True)
    database, _, options = database_address(f"sqlite:///{file}").removeprefix("sqlite:///").partition("?")
    with closing(sqlite3.connect(database, uri="uri=true" in options)) as connection:
        connection.execute("create table made (number)")
    assert file.is_file()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [file]


def test_other_addresses_of_mlflow_stay_as_they_are():
    for uri in ("http://localhost:5000/#/x?y", "sqlite:///a/b.db?timeout=5", "sqlite:///file:b.db?uri=true", "mlruns"):
        assert database_address(uri) == uri
    assert database_file("sqlite:////a?b/c.db?timeout=5") == Path("/a?b/c.db")
