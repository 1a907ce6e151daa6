"""Lock files that one process at a time can hold; a process that dies releases its lock.

Not the package filelock: it leaves its files behind, and does not notice that the folder has been moved away.
"""

import fcntl
import sys
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from mlbench.core.atomic_io import is_at, open_to_append
from mlbench.core.errors import UserError

MOST_TRIES, TRY_SECONDS = 20, 0.05
TRIES = 4  # a report that asks whether a run goes on holds its lock for a moment


@contextmanager
def locked(path: Path, wait: bool) -> Generator[None]:
    """Hold a lock on the file `path`, which exists only while it is locked.

    Args:
        path: The lock file.
        wait: Whether to wait for another process that holds the lock.

    Raises:
        UserError: If another process holds the lock and `wait` is not set, or if the file cannot be written.
    """
    try:
        file = open_and_lock(path, wait)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; choose another out=") from error
    with file:
        try:
            yield
        finally:
            if is_at(file.fileno(), path):  # not when the folder has been replaced
                path.unlink()


def open_and_lock(path: Path, wait: bool) -> IO[bytes]:
    """Open and lock the file, again and again until it is still at `path` once it is locked."""
    tries = 0
    while True:
        with ExitStack() as stack:
            try:
                file = stack.enter_context(open_to_append(path))
            except FileNotFoundError:
                tries += 1  # for a moment, where another process puts a new folder in the place of an old one
                if tries > MOST_TRIES:
                    raise
                time.sleep(TRY_SECONDS)
                continue
            lock(file, wait, path)
            if is_at(file.fileno(), path):
                stack.pop_all()
                return file


def lock(file: IO[bytes], wait: bool, path: Path) -> None:
    """Lock an open file. Raises UserError if another process holds the lock and `wait` is not set."""
    if locks(file):
        return
    if wait:
        print(f"waiting for another process that works on {path.parent}", file=sys.stderr)
        fcntl.flock(file, fcntl.LOCK_EX)
        return
    for _ in range(TRIES):
        time.sleep(TRY_SECONDS)
        if locks(file):
            return
    raise UserError(f"{path.parent} is being worked on by another process")


def locks(file: IO[bytes]) -> bool:
    """Lock an open file if nobody else has; whether that was so."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
