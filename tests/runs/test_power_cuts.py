"""After a power cut at any moment of a sweep, the same sweep ends with the same numbers."""

import json
import random

import pytest

from tests.runs.power_cut import Disk, digest, write

SWEEPS = {
    "lifelong": ("lifelong=er", "data.tasks=2", "data.train_per_task=40", "data.test_per_task=20"),
    "compress": ("compress=prune", "data.train_examples=60", "data.test_examples=40", "compress.finetune_epochs=1"),
    "plain": ("data.train_examples=60", "data.test_examples=40", "train.validation=0.2", "train.patience=2"),
}


CLOCK = ("speedup", "latency", "seconds")


def numbers(out):
    """All that the finished runs measured, without what depends on the clock."""
    runs = {}
    for summary in out.glob("*/*/*/summary.json"):
        content = json.loads(summary.read_text())
        runs[str(summary.parent.relative_to(out))] = (
            {name: value for name, value in content["metrics"].items() if not timed(name)},
            [line for line in (summary.parent / "metrics.jsonl").read_text().splitlines() if not timed(line)],
            (summary.parent / "checkpoints" / "model.safetensors").read_bytes(),
            sorted(path.name for path in summary.parent.rglob("*")),
        )
    return runs


def timed(text):
    return any(word in text for word in CLOCK)


@pytest.mark.usefixtures("same_process")
@pytest.mark.parametrize(
    ("family", "count"),
    [
        ("lifelong", 3),
        *(pytest.param(each, 10_000, marks=[pytest.mark.slow, pytest.mark.timeout(3600)]) for each in SWEEPS),
    ],
)
def test_a_sweep_survives_a_power_cut(mlbench, tmp_path, monkeypatch, family, count):
    """At `count` moments drawn at random, or at every one."""
    words = ("-m", *SWEEPS[family], "train.epochs=2", "seed=0,1", "hydra.sweep.dir=" + str(tmp_path / "sweep"))
    monkeypatch.setenv("MLBENCH_SAVE_SECONDS", "0")
    out, states = tmp_path / "out", {}
    out.mkdir()
    with Disk(out, lambda state: states.setdefault(digest(state), state)).recorded():
        assert mlbench(*words)[0] == 0
    expected = numbers(out)
    assert len(expected) == 2
    assert len(states) > 80  # the recorder records
    chosen = random.Random(0).sample(list(states.values()), min(count, len(states)))
    for state in chosen:
        write(state, out)
        code, _, error = mlbench(*words)
        assert code == 0, error
        assert numbers(out) == expected
