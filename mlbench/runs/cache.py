"""Trained networks kept by the hash of what made them, so that the same one is not trained twice.

What made them is settings, the examples themselves, the modules behind a model of the user's own, and the files of
weights and tokenisers that others have trained, but not mlbench's own code. `force=true` makes those anew that were
there before the command began, once in a sweep. Runs that need the same network at the same time wait for the one that
trains it; a run that dies lets go.
"""

import hashlib
import json
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlbench.core.errors import UserError
from mlbench.core.file_lock import locked


def usable(path: Path, since: float) -> bool:
    """Whether a file is there that may be taken: one no older than that time (s since 1970)."""
    return path.exists() and path.stat().st_mtime >= since


def place(root: Path, made_by: dict[str, Any]) -> Path:
    """The file for a network that these settings (plain values) make."""
    text = json.dumps(made_by, sort_keys=True)
    return root / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.pt"


def contents(folder: Path, paths: Iterable[Path]) -> list[list[str]]:
    """Name in `folder` and hash of each of the files among `paths`."""
    return [[path.relative_to(folder).as_posix(), digest(path)] for path in paths if path.is_file()]


def digest(path: Path) -> str:
    """A hash of what is in the file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def held(path: Path) -> Generator[None]:
    """Inside, no other process holds `path`; waits for one that does. Raises UserError where nothing can be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write into {path.parent}: {error.strerror}; choose another out=") from error
    with locked(path.with_suffix(".lock"), wait=True):
        yield
