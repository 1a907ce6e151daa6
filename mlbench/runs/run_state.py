"""How the run of a folder ended, or that it still runs. No torch."""

import fcntl
import os
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from mlbench.core.atomic_io import write_json
from mlbench.core.errors import RunError, UserError
from mlbench.core.input_files import read_json
from mlbench.runs import layout

MESSAGE = 500  # letters of an error's message that are kept


class State(Enum):
    """What a folder tells of its run."""

    FINISHED = "finished"  # it has its summary
    RUNNING = "running"  # a process holds its lock
    FAILED = "failed"  # an error ended it, which it has noted
    INTERRUPTED = "interrupted"  # Ctrl-C or SIGTERM ended it, which it has noted
    KILLED = "killed"  # it has noted nothing: SIGKILL, a power cut, or the end of the memory


@dataclass(frozen=True)
class RunState:
    """How a run ended, and for a failed one with which error."""

    state: State
    why: str = ""

    def __str__(self) -> str:
        if self.state in (State.INTERRUPTED, State.KILLED):
            return f"not finished: it was {self.state.value} (mlbench resume=... goes on)"
        return "it still runs" if self.state is State.RUNNING else f"it {self.state.value}: {self.why}"


def record_begin(folder: Path) -> None:
    """Take away what an earlier try has noted. Raises OSError."""
    (folder / layout.ERROR).unlink(missing_ok=True)


def record_exit(folder: Path, error: BaseException | None) -> None:
    """Note in the folder of a run what ended it, or that nothing did; where that cannot be written, nothing is noted.

    Args:
        folder: The run's folder, whose lock this process holds.
        error: What its work raised; None for a run that is finished.
    """
    if error is not None:
        with suppress(OSError, RunError):
            kind = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else type(error)
            write_json(folder / layout.ERROR, {"kind": kind.__name__, "message": str(error)[:MESSAGE]})


def run_state(folder: Path) -> RunState:
    """How the run of this folder ended."""
    if has_content(folder / layout.SUMMARY):
        return RunState(State.FINISHED)
    lock, note = folder / layout.LOCK, folder / layout.ERROR
    if is_locked(lock):
        return RunState(State.RUNNING)
    try:
        if not note.exists():
            return RunState(State.KILLED)
        told = read_json(note)
    except (OSError, UserError):
        return RunState(State.KILLED)
    told = told if isinstance(told, dict) else {}
    if told.get("kind") == "KeyboardInterrupt":
        return RunState(State.INTERRUPTED)
    return RunState(State.FAILED, f"{told.get('kind', 'an error')}: {told.get('message', '')}"[: 2 * MESSAGE])


def has_content(path: Path) -> bool:
    """Whether there is something at a path that is not a file that a power cut has left empty."""
    try:
        if not path.is_file():
            return path.is_symlink() or path.exists()
        with path.open("rb") as file:
            return bool(file.read(4096).strip(b"\0 \r\n"))
    except OSError:
        return False


def is_locked(path: Path) -> bool:
    """Whether a process holds a lock on this file, which is neither written nor waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False
