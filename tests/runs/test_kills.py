"""Runs of every family that are killed and started again: nothing is lost, and the numbers stay the same."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress

import numpy as np
import pytest

RUNS = {
    "plain": "train.epochs=150 train.augment=crop_flip model=cnn train.validation=0.1 train.patience=150",
    "ewc": "lifelong=ewc train.epochs=40",
    "derpp": "lifelong=derpp train.epochs=40",
    "packnet": "lifelong=packnet train.epochs=15",
    "progressive": "lifelong=progressive train.epochs=25",
    "icarl": "lifelong=icarl data=split_digits data.scenario=class train.epochs=40",
    "generative_replay": "lifelong=generative_replay data=split_digits data.scenario=class",
    "feedback": "lifelong=gem data=feedback_digits train.epochs=50",
    "prune": "compress=prune train.epochs=120",
    "deep_compression": "compress=deep_compression train.epochs=60",
    "distill": "compress=distill train.epochs=60",
    "slimmable": "compress=slimmable",
    "saliency": "explain=saliency model=cnn train.epochs=30",
    "invert": "explain=invert",
    "probe": "explain=probe",
    "maximise": "explain=maximise",
    "mend": "explain=mend",
}
SHORT = {  # of each family one run of a few seconds, killed once
    "plain": "train.epochs=40 threads=1",
    "lifelong": "lifelong=derpp data.tasks=2 data.train_per_task=300 train.epochs=10 threads=1",
    "compress": "compress=prune train.epochs=20 data.train_examples=300 threads=1",
    "explain": "explain=saliency data=digits model=cnn train.epochs=10 data.train_examples=300 threads=1",
}
LAUNCHERS = dict.fromkeys(RUNS, "serial") | {"parallel derpp": "joblib", "parallel prune": "joblib"}
RESUMED, MOST_KILLS = 5, 30
TIMES = ("second", "latency", "speed", "faster")  # metrics with these words are not the same twice


def start(words, out, save_seconds="0.2"):
    """The command as a sweep of one job, which continues where an earlier process was interrupted."""
    return subprocess.Popen(
        [sys.executable, "-m", "mlbench", "-m", *words.split(), f"out={out}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "MLBENCH_SAVE_SECONDS": save_seconds},
    )


def finish(words, out):
    """Run the command to its end."""
    process = start(words, out)
    _, error = process.communicate()
    assert process.returncode == 0, error


def kill(process):
    """Kill the process and whatever it started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def checkpoint_after(out, began):
    """Whether there is a checkpoint that was written after `began` (ns)."""
    for path in out.glob("*/*/*/checkpoints/**/last.pt"):
        with suppress(FileNotFoundError):  # it goes when the run is over
            if path.stat().st_mtime_ns > began:
                return True
    return False


def kill_after_a_checkpoint(words, out, moment):
    """Whether the command could be killed `moment` seconds after it wrote a checkpoint; else it was over before."""
    began, process = time.time_ns(), start(words, out)
    while process.poll() is None and not checkpoint_after(out, began):
        time.sleep(0.01)
    time.sleep(moment)
    if process.poll() is None:
        kill(process)
        return True
    _, error = process.communicate()
    assert process.returncode == 0, error
    return False


def resumed(out):
    """How often the run went on from a checkpoint: as often as it says."""
    places = list(out.glob("*/*/*/env.json"))
    return len(json.loads(places[0].read_text()).get("resumed", [])) if places else 0


def kill_at_a_checkpoint(words, out):
    """Kill the command when it has written a checkpoint to continue from."""
    process = start(words, out, save_seconds="0")
    end = time.monotonic() + 60
    while not list(out.glob("*/*/*/checkpoints/**/last.pt")) and process.poll() is None and time.monotonic() < end:
        time.sleep(0.002)
    assert process.poll() is None, "it was over before its first checkpoint"
    kill(process)


def result(out):
    """The results of the run in this folder: measurements, metrics that are no times, and artefacts."""
    (path,) = out.glob("*/*/*/summary.json")
    folder = path.parent
    metrics = json.loads(path.read_text())["metrics"]
    repeatable = {name: value for name, value in metrics.items() if not any(word in name for word in TIMES)}
    arrays = {}
    for file in folder.glob("artefacts/*.npz"):
        with np.load(file, allow_pickle=False) as content:
            arrays |= {(file.name, name): content[name].tobytes() for name in content.files}
    files = {file.name: file.read_bytes() for end in ("mlb", "wav") for file in folder.glob(f"artefacts/*.{end}")}
    return (folder / "metrics.jsonl").read_bytes(), repeatable, arrays, files


def check_nothing_is_left(out):
    """No files of a process that was killed."""
    (folder,) = (path.parent for path in out.glob("*/*/*/summary.json"))
    assert not [path for path in folder.rglob("*") if path.name.endswith((".part", ".lock", "last.pt"))]


@pytest.mark.slow  # experiment/test_runs.py kills a lifelong run in the quick suite
@pytest.mark.parametrize("family", SHORT)
def test_an_interrupted_run_of_each_family_ends_with_the_same_numbers(tmp_path, family):
    finish(SHORT[family], tmp_path / "whole")
    kill_at_a_checkpoint(SHORT[family], tmp_path / "interrupted")
    assert not list((tmp_path / "interrupted").glob("*/*/*/summary.json"))
    finish(SHORT[family], tmp_path / "interrupted")
    assert result(tmp_path / "whole") == result(tmp_path / "interrupted")
    check_nothing_is_left(tmp_path / "interrupted")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", LAUNCHERS)
def test_a_run_killed_at_any_moment_loses_nothing(tmp_path, name, record_property):
    """Other moments every time, in training, in measuring, while files are written, until it was resumed five times."""
    whole, interrupted, draws = tmp_path / "whole", tmp_path / "interrupted", random.Random()
    words = f"{RUNS[name.split()[-1]]} hydra/launcher={LAUNCHERS[name]}"
    finish(words, whole)
    kills = 0
    while resumed(interrupted) < RESUMED and kills < MOST_KILLS:
        if not kill_after_a_checkpoint(words, interrupted, draws.uniform(0, 0.4)):
            break
        kills += 1
    finish(words, interrupted)
    for count, value in (("kills", kills), ("resumed", resumed(interrupted))):  # for --junit-xml
        record_property(count, value)
    assert result(whole) == result(interrupted)
    assert resumed(interrupted) >= RESUMED, f"{kills} kills"
    check_nothing_is_left(interrupted)
