"""What a run's folder may not hold, and what is repaired in it or removed from it."""

import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path

from mlbench.core.atomic_io import remove_parts, write_text
from mlbench.core.errors import UserError
from mlbench.core.file_lock import locked
from mlbench.runs import layout


def repair(folder: Path, files: dict[str, str]) -> None:
    """Write those files anew with which a run's folder begins that are missing or that a power cut has left empty.

    Args:
        folder: The folder of an unfinished run.
        files: Name of each file -> its content.

    Raises:
        RunError: A file cannot be written.
    """
    check_links(folder)
    broken = [name for name in files if not (path := folder / name).is_file() or is_empty(path)]
    for name in broken:
        write_text(folder / name, files[name])
    if broken:
        print(f"{folder}: {', '.join(broken)} missing or empty, written anew", file=sys.stderr)


def is_empty(path: Path) -> bool:
    """Whether a file has no content but spaces and zero bytes."""
    return not path.read_bytes().strip(b"\0 \n")


def tidy(folder: Path) -> None:
    """Remove what is left if the process of a finished run died at its very end; its lock still exists then."""
    if (lock := folder / layout.LOCK).exists():
        with suppress(UserError), locked(lock, wait=False):
            check_links(folder)
            clear(folder)


def clear(folder: Path) -> None:
    """Remove files that only an unfinished run needs."""
    (folder / layout.CHECKPOINTS / layout.LAST).unlink(missing_ok=True)
    shutil.rmtree(folder / layout.CHECKPOINTS / layout.FITS, ignore_errors=True)
    clean(folder)


def clean(folder: Path) -> None:
    """Remove incomplete files of a killed process."""
    for place, _, _ in os.walk(folder):
        remove_parts(Path(place))


def check_links(folder: Path) -> None:
    """Raise UserError where a run's folder has a link in it, through which files outside of it would be written."""
    for place, folders, files in os.walk(folder):
        names = [*folders, *files]
        folders[:] = [name for name in folders if name not in layout.TRACKER_FOLDERS]  # wandb makes links in its own
        for name in names:
            if (path := Path(place, name)).is_symlink():
                raise UserError(
                    f"{path} is a symbolic link; a run's folder has none, its files would be written elsewhere"
                )
