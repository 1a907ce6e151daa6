"""Signals: deferred, handled once, and at once the second time; children that end with what started them."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor

import pytest

from mlbench.core.child_processes import ChildProcesses
from mlbench.core.interruption import Interruption, interruption


@pytest.fixture(autouse=True)
def forgotten():
    """No test after these ones meets their signals."""
    yield
    interruption.signal = None


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_raises_where_it_may(number, code, monkeypatch):
    monkeypatch.setattr(signal, "getsignal", lambda _: signal.SIG_DFL)  # a process in the background ignores Ctrl-C
    before = signal.signal(number, signal.SIG_DFL)
    with interruption.listening():
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        assert interruption.exit_code == code
    assert signal.signal(number, before) is signal.SIG_DFL


def test_a_deferred_signal_waits_for_the_end_of_the_context():
    steps = []

    def work():
        with interruption.deferred():
            os.kill(os.getpid(), signal.SIGTERM)
            steps.append("goes on")

    with interruption.listening():
        with pytest.raises(KeyboardInterrupt):
            work()
        with pytest.raises(KeyboardInterrupt):
            interruption.check()
    assert steps == ["goes on"]


def test_an_error_after_the_signal_does_not_hide_it():
    def work():
        with interruption.deferred():
            os.kill(os.getpid(), signal.SIGTERM)
            raise ValueError("mine")

    with interruption.listening(), pytest.raises(KeyboardInterrupt) as caught:
        work()
    assert str(caught.value.__cause__) == "mine"


def test_an_error_without_a_signal_is_what_is_raised():
    with interruption.listening(), pytest.raises(ValueError, match="mine"), interruption.deferred():
        raise ValueError("mine")


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruption.listening():
            os.kill(os.getpid(), signal.SIGINT)
            assert interruption.signal is None
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_second_signal_ends_the_process_at_once():
    lines = (
        "import os",
        "from mlbench.core.interruption import interruption",
        "with interruption.listening(), interruption.deferred():",
        "    os.kill(os.getpid(), 15)",
        "    os.kill(os.getpid(), 15)",  # twice at once is once
        "    interruption.moment -= 1",
        "    print('goes on', flush=True)",
        "    os.kill(os.getpid(), 15)",
        "    print('never', flush=True)",
    )
    ended = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (-signal.SIGTERM, "goes on\n")


def test_without_a_signal_a_keyboard_interrupt_counts_as_ctrl_c():
    assert Interruption().exit_code == 130


def test_children_end_together_and_none_is_begun_after_that(tmp_path):
    children = ChildProcesses()
    with (tmp_path / "log").open("w") as log, ThreadPoolExecutor(2) as pool:
        ends = [pool.submit(children.call, ["sleep", "100"], log) for _ in range(2)]
        while len(children.running) < 2:
            time.sleep(0.01)
        children.stop()
        assert [end.result() for end in ends] == [-signal.SIGTERM] * 2
        with pytest.raises(CancelledError):
            children.call(["true"], log)
