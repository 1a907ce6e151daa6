"""The README's examples of one's own data, model and methods, made into files and run as they stand there."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")
SECTION = README.partition("## Your own data, model, method")[2].partition("\n## ")[0]
FILES = dict(re.findall(r"`([\w/]+\.(?:py|yaml))`:\n\n```\w+\n(.*?)```", SECTION, re.DOTALL))
COMMANDS = [line.split("#")[0].split() for line in re.findall(r"^    (mlbench .*)", SECTION, re.MULTILINE)]
MODULES = {Path(path).stem for path in FILES}


@pytest.fixture
def example(tmp_path, monkeypatch):
    """A folder that holds what the README tells to write."""
    for path, content in FILES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)
    monkeypatch.chdir(tmp_path)
    subprocess.run([sys.executable, "make_data.py"], check=True)
    yield tmp_path
    for name in MODULES & set(sys.modules):
        del sys.modules[name]


def summaries(folder):
    return [json.loads(path.read_text()) for path in sorted(folder.glob("out/*/*/*/summary.json"))]


def test_each_kind_of_example_is_one_file_and_one_yaml():
    assert len(COMMANDS) == 7
    own = [path for path in FILES if path.startswith("mine/")]
    assert sorted(Path(path).suffix for path in own) == [".py"] * 4 + [".yaml"] * 4


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_the_readmes_examples_run(mlbench, example, words):
    code, _, error = mlbench(*words[1:])
    assert code == 0, error
    (summary,) = summaries(example)
    for word in words:
        group, _, name = word.partition("=")
        assert summary.get(group, name) == name or group not in ("data", "model")


def test_the_bright_pictures_are_told_from_the_dark(mlbench, example):
    assert mlbench("data=npz", "data.path=mine.npz", "train.epochs=5")[0] == 0
    assert summaries(example)[0]["metrics"]["accuracy"] > 0.9


def test_the_own_lifelong_method_is_in_the_loop(mlbench, example):
    own = ("--config-dir", "mine", "lifelong=shrink", "data=permuted_digits", "data.tasks=2", "train.epochs=1")
    assert mlbench(*own, "lifelong.factor=0")[0] == 0
    (matrix,) = example.glob("out/*/*/*/accuracy_matrix.csv")
    rows = [row.partition(",")[2] for row in matrix.read_text().splitlines()[1:]]
    assert len(set(rows)) == 1  # gradients of 0: nothing is ever learned
    code, _, error = mlbench(*own, "lifelong.factr=1")
    assert (code, "did you mean 'factor'" in error) == (2, True)


def test_the_own_compression_is_measured_like_the_others(mlbench, example):
    assert mlbench("--config-dir", "mine", "compress=threshold", "compress.limit=100", "train.epochs=1")[0] == 0
    (points,) = example.glob("out/*/*/*/points.csv")
    header, dense, cut = (line.split(",") for line in points.read_text().splitlines())
    found = dict(zip(header, cut, strict=True))
    weights = 64 * 100 + 100 * 100 + 100 * 10
    assert int(dense[header.index("nonzero")]) - int(found["nonzero"]) == weights  # biases stay
    assert found["stage"] == "below 100"


def test_own_entries_are_listed(mlbench, example):
    code, text, error = mlbench("--config-dir", "mine", "list", "model", out=False)
    assert code == 0, error
    assert "One wide hidden layer" in text


def test_the_chinese_readme_has_the_same_examples_and_numbers():
    chinese = (Path(__file__).resolve().parent.parent / "README.zh.md").read_text(encoding="utf-8")
    for block in re.findall(r"```\w+\n(.*?)```", chinese, re.DOTALL):
        assert block in README
    numbers = set(re.findall(r"[-+]?[\d.,]*\d ± [\d.,]*\d", chinese))
    assert numbers
    assert all(number in README for number in numbers)
