"""Files damaged at random: each is refused by a UserError, or loads as what was written; nothing else happens."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies

from tests.mutations import attempt, kinds

NAMES = [
    "pt",
    "safetensors",
    "mlb",
    "pth",
    "npz",
    "conllu",
    "wav",
    "csv",
    "config.yaml",
    "names.yaml",
    "summary.json",
    "env.json",
    "metrics.jsonl",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_file_is_refused_or_loads_as_it_was(tmp_path, name):
    (kind,) = (each for each in kinds(tmp_path) if each.name == name)
    refused = []

    @settings(max_examples=30, derandomize=True, database=None, deadline=None)
    @given(draws=strategies.randoms(use_true_random=False))
    def load_one(draws):
        refused.append(attempt(kind, draws, tmp_path))

    load_one()
    assert sum(refused) > 5


@pytest.mark.slow
def test_ten_thousand_damaged_files_take_little_memory():
    root = Path(__file__).parents[1]
    command = [sys.executable, "-m", "tests.mutations", "10000"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["refused"] > 5000
    assert told["grown"] < 2**29
