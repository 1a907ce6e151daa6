"""Lock files that one process at a time can hold; a process that dies releases its lock.

Not the package filelock: it leaves its files behind, and does not notice that the folder has been moved away.
"""

import fcntl
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from mlbench.core.atomic_io import is_at, open_to_append
from mlbench.core.errors import UserError


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
    while True:
        with ExitStack() as stack:
            file = stack.enter_context(open_to_append(path))
            lock(file, wait, path)
            if is_at(file.fileno(), path):
                stack.pop_all()
                return file


def lock(file: IO[bytes], wait: bool, path: Path) -> None:
    """Lock an open file. Raises UserError if another process holds the lock and `wait` is not set."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if not wait:
            raise UserError(f"{path.parent} is being worked on by another process") from None
        print(f"waiting for another process that works on {path.parent}", file=sys.stderr)
        fcntl.flock(file, fcntl.LOCK_EX)
