"""Files that one process holds at a time; one that dies lets go.

Not the package filelock: it leaves its files behind, and does not notice that the folder has been moved away.
"""

import fcntl
import os
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from mlbench.core.errors import UserError


@contextmanager
def locked(path: Path, wait: bool) -> Generator[None]:
    """Inside, no other process holds the file `path`, which is there only as long as it is held.

    Waits for the one that does, or raises UserError. Raises it too where nothing can be written.
    """
    try:
        file = open_and_lock(path, wait)
    except OSError as error:
        raise UserError(f"cannot write into {path.parent}: {error.strerror}; choose another out=") from error
    with file:
        try:
            yield
        finally:
            if is_at(file, path):  # not when the folder has been replaced
                path.unlink()


def open_and_lock(path: Path, wait: bool) -> IO[str]:
    """The file, locked; opened again while whoever held it has removed it."""
    while True:
        with ExitStack() as stack:
            file = stack.enter_context(path.open("w"))
            lock(file, wait, path)
            if is_at(file, path):
                stack.pop_all()
                return file


def lock(file: IO[str], wait: bool, path: Path) -> None:
    """Lock an open file, after whoever has it. Raises UserError when it is locked and `wait` is not set."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        if not wait:
            raise UserError(f"{path.parent} is being worked on by another process") from None
        print(f"waiting for another process that works on {path.parent}", file=sys.stderr)
        fcntl.flock(file, fcntl.LOCK_EX)


def is_at(file: IO[str], path: Path) -> bool:
    """Whether an open file is the one that stands at `path`."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
