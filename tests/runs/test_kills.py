"""Runs of every family killed at random moments of their lives: nothing is lost, and the numbers are those of peace."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

RUNS = {
    "plain": "train.epochs=150 train.augment=crop_flip model=cnn train.validation=0.1 train.patience=150",
    "ewc": "lifelong=ewc train.epochs=40",
    "derpp": "lifelong=derpp train.epochs=40",
    "packnet": "lifelong=packnet train.epochs=15",
    "generative_replay": "lifelong=generative_replay data=split_digits data.scenario=class",
    "feedback": "lifelong=gem data=feedback_digits",
    "prune": "compress=prune train.epochs=60",
    "deep_compression": "compress=deep_compression train.epochs=60",
    "distill": "compress=distill train.epochs=60",
    "slimmable": "compress=slimmable",
    "saliency": "explain=saliency model=cnn train.epochs=30",
    "invert": "explain=invert",
    "probe": "explain=probe",
    "maximise": "explain=maximise",
    "mend": "explain=mend",
}
KILLS = 4
TIMES = ("second", "latency", "speed", "faster")  # metrics with these words are not the same twice


def start(words, out):
    """The command as a sweep of one job, which goes on where the same command was cut off."""
    return subprocess.Popen(
        [sys.executable, "-m", "mlbench", "-m", *words.split(), f"out={out}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "MLBENCH_SAVE_SECONDS": "0.2"},
    )


def killed(words, out, moment):
    """Whether the command could be killed `moment` seconds after it began; else it was over before."""
    process = start(words, out)
    time.sleep(moment)
    over = process.poll() is not None
    if not over:
        os.killpg(process.pid, signal.SIGKILL)
    _, error = process.communicate()
    assert not over or process.returncode == 0, error
    return not over


def result(out):
    """What the run in this folder found: measurements, metrics that are no times, and what it made."""
    (path,) = out.glob("*/*/*/summary.json")
    folder = path.parent
    metrics = json.loads(path.read_text())["metrics"]
    kept = {name: value for name, value in metrics.items() if not any(word in name for word in TIMES)}
    arrays = {}
    for file in folder.glob("artefacts/*.npz"):
        with np.load(file, allow_pickle=False) as content:
            arrays |= {(file.name, name): content[name].tobytes() for name in content.files}
    files = {file.name: file.read_bytes() for end in ("mlb", "wav") for file in folder.glob(f"artefacts/*.{end}")}
    return (folder / "metrics.jsonl").read_bytes(), kept, arrays, files


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", RUNS)
def test_a_run_killed_at_any_moment_loses_nothing(tmp_path, name):
    """Other moments every time: while torch is imported, in training, in measuring, while files are written."""
    whole, cut, draws = tmp_path / "whole", tmp_path / "cut", random.Random()
    began = time.monotonic()
    process = start(RUNS[name], whole)
    _, error = process.communicate()
    assert process.returncode == 0, error
    needed = time.monotonic() - began
    moments = [draws.uniform(0, needed) for _ in range(KILLS)]
    print(f"{needed:.0f} s; killed after", *(f"{m:.1f}" for m in moments if killed(RUNS[name], cut, m)))
    process = start(RUNS[name], cut)
    _, error = process.communicate()
    assert process.returncode == 0, error
    assert result(whole) == result(cut)
    (folder,) = (path.parent for path in cut.glob("*/*/*/summary.json"))
    assert not [path for path in folder.rglob("*") if path.name.endswith((".part", ".lock", "last.pt"))]
