"""A cache of trained networks by the hash of what produced them, so that none is trained twice.

What made them is settings, the examples themselves, the modules behind a model of the user's own, and the files of
weights and tokenisers that others have trained, but not mlbench's own code. `force=true` makes those anew that
other commands have made, once in a sweep. Runs that need the same network at the same time wait for the one that
trains it; a run that dies lets go.
"""

import hashlib
import json
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlbench.core.atomic_io import make_folders, write_text
from mlbench.core.errors import UserError
from mlbench.core.file_lock import locked


def usable(path: Path, command: str | None) -> bool:
    """Return whether the file exists and, with force=true, was made by this command.

    Args:
        path: The file.
        command: The name of the command that makes everything anew; None without force=true.
    """
    return path.exists() and command in (None, maker(path))


def sign(path: Path, command: str | None) -> None:
    """Note which command has made a file, with force=true. Raises RunError."""
    if command is not None:
        write_text(signature(path), command)


def maker(path: Path) -> str:
    """The name of the command that made a file; empty where nobody noted it."""
    try:
        return signature(path).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


def signature(path: Path) -> Path:
    """Where the maker of a file is noted."""
    return path.with_name(f".{path.name}.command")


def place(root: Path, made_by: dict[str, Any]) -> Path:
    """Return the path of the network that these settings (plain values) produce."""
    text = json.dumps(made_by, sort_keys=True)
    return root / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.pt"


def contents(folder: Path, paths: Iterable[Path]) -> list[list[str]]:
    """Return name in `folder` and hash of each path that is a file."""
    return [[path.relative_to(folder).as_posix(), digest(path)] for path in paths if path.is_file()]


def digest(path: Path) -> str:
    """Return a hash of the content of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def held(path: Path) -> Generator[None]:
    """Lock the file `path`, after waiting for any other process. Raises UserError if nothing can be written."""
    try:
        make_folders(path.parent)
    except OSError as error:
        raise UserError(f"cannot write into {path.parent}: {error.strerror}; choose another out=") from error
    with locked(path.with_suffix(".lock"), wait=True):
        yield
