"""The manual's examples of one's own data, model and methods, made into files and run as they stand there."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mlbench.core.config_groups import FAMILIES, entries

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "tutorials" / "your-own.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"`([\w/]+\.(?:py|yaml))`:\n\n```\w+\n(.*?)```", PAGE, re.DOTALL))
COMMANDS = [line.split("#")[0].split() for line in re.findall(r"^    (mlbench .*)", PAGE, re.MULTILINE)]
MODULES = {Path(path).stem for path in FILES}


@pytest.fixture
def example(tmp_path, monkeypatch):
    """A folder that holds what the page tells to write."""
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
def test_the_pages_examples_run(mlbench, example, words):
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


def read(*names: str) -> list[str]:
    return [(ROOT / name).read_text(encoding="utf-8") for name in names]


def numbers(text: str) -> set[str]:
    return set(re.findall(r"[-+]?[\d.,]*\d ± [\d.,]*\d", text))


def commands(text: str) -> list[str]:
    """The indented commands of a page, without what follows in comments."""
    return [" ".join(line.partition("#")[0].split()) for line in re.findall(r"^    (\S.*)$", text, re.MULTILINE)]


def test_the_chinese_readme_has_the_same_examples_and_numbers():
    english, chinese = read("README.md", "README.zh.md")
    assert commands(chinese) == commands(english)
    assert len(commands(english)) == 12
    for block in re.findall(r"```\w+\n(.*?)```", chinese, re.DOTALL):
        assert block in english
    assert numbers(chinese)
    assert numbers(chinese) == numbers(english)
    assert len(english.splitlines()) <= 120


def test_the_readmes_numbers_are_those_of_the_manual():
    readme, *pages = read("README.md", *(f"docs/results/{name}.md" for name in ("lifelong", "compress", "explain")))
    assert numbers(readme) <= numbers("".join(pages))


def test_the_chinese_manual_has_commands_and_numbers_of_the_english_one():
    english = read("docs/tutorials/first-run.md", "docs/results/lectures.md")
    chinese = read("docs/zh/first-run.md", "docs/zh/lectures.md")
    for ours, theirs in zip(chinese, english, strict=True):
        assert set(commands(ours)) <= set(commands(theirs))
        assert numbers(ours) <= numbers(theirs)
    assert numbers(chinese[1])


def test_the_readmes_name_every_technique():
    for text in read("README.md", "README.zh.md"):
        for family in FAMILIES:
            assert set(entries(family)) <= set(re.findall(r"`(\w+)`", text))


def test_links_between_pages_lead_to_files():
    for page in [*ROOT.glob("README*.md"), *ROOT.glob("C*.md"), *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
