"""Folders of runs that somebody has tampered with, or that a killed process or a power cut has left."""

import errno
import fcntl
import json
import os
import re
import time

import pytest
import torch

from mlbench.core.atomic_io import create_folder, open_to_append, remove_parts, write_text
from mlbench.core.errors import UserError
from mlbench.core.file_lock import locked
from mlbench.runs.provenance import environment, outdated, recorded
from mlbench.runs.run_dir import Run
from mlbench.runs.run_tables import UnreadableRun, attempt, valid_rows

TINY = ("data.train_examples=60", "data.test_examples=40", "train.epochs=1", "threads=1")


@pytest.fixture
def unfinished(mlbench, tmp_path, monkeypatch):
    """The folder of a run that was interrupted at its end, so that its last checkpoint is there."""
    monkeypatch.setattr("mlbench.runs.run_dir.SAVE_SECONDS", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(Run, "save_network", interrupted)
        assert mlbench(*TINY)[0] == 130
    (folder,) = (path.parent for path in (tmp_path / "out").glob("*/*/*/config.yaml"))
    assert (folder / "checkpoints" / "last.pt").exists()
    return folder


def interrupted(*_):
    raise KeyboardInterrupt


def only_folder(out):
    (folder,) = (path.parent for path in out.glob("*/*/*/config.yaml"))
    return folder


@pytest.mark.usefixtures("undrawn")
def test_a_link_in_a_runs_folder_leads_nowhere(mlbench, tmp_path, unfinished):
    outside, aside = tmp_path / "outside", tmp_path / "aside"
    (outside / "fits").mkdir(parents=True)
    (outside / "file").write_text("mine")
    for name in (".lock", "metrics.jsonl", "env.json", "checkpoints", "figures", "checkpoints/last.pt"):
        place = unfinished / name
        if there := place.exists():
            place.rename(aside)
        place.symlink_to(outside if name in ("checkpoints", "figures") else outside / "file")
        code, _, error = mlbench(f"resume={unfinished}", out=False)
        assert code == 2
        assert f"{place}" in error
        assert "symbolic link" in error
        assert sorted(path.name for path in outside.iterdir()) == ["file", "fits"]
        assert (outside / "file").read_text() == "mine"
        place.unlink()
        if there:
            aside.rename(place)


def test_only_files_with_one_name_are_appended_to(tmp_path):
    file = tmp_path / "file"
    for _ in range(2):
        with open_to_append(file) as stream:
            stream.write(b"x")
    assert file.read_text() == "xx"
    (tmp_path / "link").symlink_to(file)
    os.mkfifo(tmp_path / "pipe")
    os.link(file, tmp_path / "other")
    for name in ("link", "pipe", "other"):
        with pytest.raises(OSError, match=r"link|not a file|another name"):
            open_to_append(tmp_path / name)
    with pytest.raises(UserError, match="symbolic link"), locked(tmp_path / "link", wait=False):
        pass
    assert file.read_text() == "xx"


def test_parts_of_killed_processes_are_swept_away_and_those_of_living_ones_stay(tmp_path):
    held, left = tmp_path / ".a.01234567.part", tmp_path / ".b.01234567.part"
    folder, other = tmp_path / ".c.89abcdef.part", tmp_path / ".download.part"
    for file in (held, left, other):
        file.touch()
    (folder / "below").mkdir(parents=True)
    with held.open() as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        write_text(tmp_path / "new", "")
        assert {path.name for path in tmp_path.iterdir()} == {held.name, other.name, "new"}
    remove_parts(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {other.name, "new"}


@pytest.mark.usefixtures("undrawn")
def test_files_that_a_power_cut_has_emptied_are_made_again(mlbench, tmp_path):
    words = ("-m", *TINY, "seed=0")
    assert mlbench(*words)[0] == 0
    folder = only_folder(tmp_path / "out")
    expected = json.loads((folder / "summary.json").read_text())["metrics"]
    texts = {name: (folder / name).read_text() for name in ("config.yaml", ".hydra/names.yaml")}
    for emptied in ({"summary.json": ""}, {"config.yaml": "", ".hydra/names.yaml": "\0" * 40, "env.json": "\0"}):
        (folder / "summary.json").unlink()
        for name, content in emptied.items():
            (folder / name).write_text(content)
        code, _, error = mlbench(*words)
        assert code == 0, error
        assert ("config.yaml, .hydra/names.yaml missing or empty" in error) == ("config.yaml" in emptied)
        assert json.loads((folder / "summary.json").read_text())["metrics"] == expected
        assert {name: (folder / name).read_text() for name in texts} == texts


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", "[" * 100_000, '{"resumed": 3}', '{"resumed_by": [1]}', '{"a": "\\ud800"}']
)
def test_a_broken_record_of_the_environment_counts_as_none(tmp_path, content):
    (tmp_path / "env.json").write_text(content)
    assert recorded(tmp_path) == {}
    assert outdated(tmp_path, []) == ""
    made = environment(torch.device("cpu"), tmp_path, [])
    assert made["command"]
    assert "resumed" not in made


@pytest.mark.usefixtures("undrawn")
def test_force_needs_no_clock(mlbench, tmp_path):
    """A file from the future is made anew like any other."""
    words = ("-m", *TINY, "seed=0", "force=true")
    future = time.time() + 1e6
    assert mlbench(*words)[0] == 0
    folder = only_folder(tmp_path / "out")
    os.utime(folder / "config.yaml", (future, future))
    code, _, error = mlbench(*words)
    assert code == 0, error
    assert "finished before" not in error
    assert (only_folder(tmp_path / "out") / "config.yaml").stat().st_mtime < future


@pytest.mark.parametrize("word", ["data=../../conf/data/digits", "model=../model/mlp"])
def test_names_lead_nowhere_outside_of_out(mlbench, tmp_path, word):
    code, _, error = mlbench(*TINY, word)
    assert code == 2, error
    assert re.search("mlbench list (data|model)", error)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("broken", ["sync", "rename_into_place"])
def test_a_disk_that_is_full_leaves_the_older_folder(tmp_path, monkeypatch, broken):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    create_folder(tmp_path / "run", {"a": "old"})
    with monkeypatch.context() as patch:
        patch.setattr(f"mlbench.core.atomic_io.{broken}", full)
        with pytest.raises(UserError, match="No space left"):
            create_folder(tmp_path / "run", {"a": "new"}, replace=True)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert (tmp_path / "run" / "a").read_text() == "old"


def test_a_file_of_a_run_that_is_a_link_is_not_read(tmp_path):
    """It could bring any file of this machine into a page that is sent on."""
    (tmp_path / "secret.csv").write_text("a\n1\n")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "layers.csv").symlink_to(tmp_path / "secret.csv")
    (tmp_path / "run" / "artefacts").symlink_to(tmp_path)
    for name in ("layers.csv", "artefacts/secret.csv"):
        with pytest.raises(UnreadableRun, match="symbolic link"):
            attempt(tmp_path / "run" / name, valid_rows)


def test_a_matrix_of_a_finished_run_that_cannot_be_read_is_a_line(mlbench, tmp_path):
    assert mlbench(*TINY)[0] == 0
    folder = only_folder(tmp_path / "out")
    for content in (None, "task,a\n1,x\n"):
        matrix = folder / "accuracy_matrix.csv"
        matrix.unlink(missing_ok=True)
        os.mkfifo(matrix) if content is None else matrix.write_text(content)
        code, text, error = mlbench(f"resume={folder}", out=False)
        assert code == 0
        assert "accuracy_matrix.csv cannot be read" in error
        assert "results:" in text
