"""What a folder tells of a run that is over, or is not."""

import os

import pytest

from mlbench.core.file_lock import locked
from mlbench.runs import layout
from mlbench.runs.run_state import RunState, State, is_locked, record_begin, record_exit, run_state


def test_each_end_of_a_run_is_told_from_the_others(tmp_path):
    assert run_state(tmp_path).state is State.KILLED  # nothing is noted
    with locked(tmp_path / layout.LOCK, wait=False):
        assert run_state(tmp_path).state is State.RUNNING
    record_exit(tmp_path, KeyboardInterrupt())
    assert run_state(tmp_path).state is State.INTERRUPTED
    with locked(tmp_path / layout.LOCK, wait=False):
        assert run_state(tmp_path).state is State.RUNNING  # it is resumed
    record_exit(tmp_path, ValueError("no\nnumber"))
    assert run_state(tmp_path) == RunState(State.FAILED, "ValueError: no\nnumber")
    record_begin(tmp_path)  # by a process that tried again, and was killed
    assert run_state(tmp_path).state is State.KILLED
    (tmp_path / layout.SUMMARY).write_text("{}")
    assert run_state(tmp_path).state is State.FINISHED
    record_exit(tmp_path, None)
    assert run_state(tmp_path).state is State.FINISHED


@pytest.mark.parametrize("content", [b"", b"\0" * 5000])
def test_a_summary_that_a_power_cut_left_empty_is_none(tmp_path, content):
    (tmp_path / layout.SUMMARY).write_bytes(content)
    assert run_state(tmp_path).state is State.KILLED


@pytest.mark.parametrize("content", ["", "{", "[]", '{"kind": 3}', '{"message": ' + "[" * 10_000])
def test_a_broken_note_tells_no_lie(tmp_path, content):
    (tmp_path / layout.ERROR).write_text(content)
    assert run_state(tmp_path).state in (State.KILLED, State.FAILED)


def test_nothing_is_waited_for_and_nothing_is_followed(tmp_path):
    os.mkfifo(tmp_path / layout.ERROR)
    os.mkfifo(tmp_path / layout.LOCK)
    assert run_state(tmp_path).state is State.KILLED
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    assert not is_locked(tmp_path / "link")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("error", [RuntimeError("of the work"), KeyboardInterrupt()])
def test_a_run_notes_what_ended_it(monkeypatch, mlbench, tmp_path, error):
    def broken(*_, **__):
        raise error

    monkeypatch.setattr("mlbench.experiment.supervised.fit", broken)
    code, *_ = mlbench("train.epochs=1", "model.hidden=[2]", "data.train_examples=20")
    assert code == (130 if isinstance(error, KeyboardInterrupt) else 1)
    (folder,) = (tmp_path / "out").glob("plain/*/*")
    told = run_state(folder)
    assert told.state is (State.INTERRUPTED if code == 130 else State.FAILED)
    assert str(error) in told.why
