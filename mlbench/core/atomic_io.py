"""Files and folders that appear complete or not at all."""

import csv
import errno
import io
import json
import math
import os
import secrets
import shutil
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import IO

from mlbench.core.errors import RunError, UserError

FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")  # how one begins, also in full width
PART_SECONDS = 10.0  # more than it takes to make a folder: an older part was left by a process that was killed


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file under another name, then rename it to `path`: a reader sees the old file or the new one.

    Args:
        path: The file.
        write: Writes the content to a binary stream.

    Raises:
        RunError: If the file cannot be written (disk full, no permission).
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with beside.open("wb") as stream:
                write(stream)
                stream.flush()
                os.fsync(stream.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    write_whole(path, lambda stream: stream.write(text.encode()))


def write_csv(path: Path, header: list[str], rows: list[list[object]]) -> None:
    """Write a table, whole or not at all; a text that a spreadsheet would compute stands behind an apostrophe.

    `read_table` and `read_rows` take that apostrophe away.
    """

    def fill(stream: IO[bytes]) -> None:
        text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
        csv.writer(text, lineterminator="\n").writerows(
            [csv_cell(cell) for cell in row] for row in chain([header], rows)
        )
        text.detach()  # which writes what is left, and leaves the stream open

    write_whole(path, fill)


def csv_cell(value: object) -> object:
    """A cell that a spreadsheet shows as it is: numbers, and texts that are none stay as they are written."""
    if value is None or isinstance(value, int | float):
        return value
    text = str(value).replace("\r", "\\r")  # csv leaves it unquoted, and it may begin another row
    text = text.encode(errors="backslashreplace").decode()  # the name of a file need not be Unicode
    return f"'{text}" if is_formula(text) else text


def is_formula(text: str) -> bool:
    """Whether a spreadsheet may compute this, behind any apostrophes that stand before it; a number is none."""
    bare = text.lstrip("'")
    if not bare.startswith(FORMULA):
        return False
    try:
        return text != bare or not math.isfinite(float(bare))
    except ValueError:
        return True


def read_table(stream: Iterable[str]) -> Generator[list[str]]:
    """The rows of a table as `write_csv` was given them, the header first. Raises csv.Error."""
    for row in csv.reader(stream):
        yield [cell[1:] if cell.startswith("'") and is_formula(cell) else cell for cell in row]


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table, column -> cell; no rows if the file does not exist."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = list(read_table(file)) or [[]]
        return [dict(zip(header, row, strict=False)) for row in rows if row]


def write_json(path: Path, content: object) -> None:
    """Write `content` as readable JSON, whole or not at all; NaN is refused (a metric not defined is left out)."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


@contextmanager
def new_folder(folder: Path) -> Generator[None]:
    """Make a folder and its parents; remove those that are new if the body of the context fails."""
    first = next((place for place in reversed([folder, *folder.parents]) if not place.exists()), None)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        if first is not None:
            shutil.rmtree(first, ignore_errors=True)
        raise


def create_folder(folder: Path, texts: dict[str, str], replace: bool = False) -> None:
    """Create a folder together with its first files, in one step; if another process is faster, its folder stays.

    Args:
        folder: The folder to create.
        texts: Name of each file -> its content.
        replace: Whether an existing folder is removed first.

    Raises:
        UserError: If the folder cannot be written.
    """
    part, aside = (folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part") for _ in range(2))
    try:
        part.mkdir(parents=True)
        for name, text in texts.items():
            (part / name).parent.mkdir(exist_ok=True)
            (part / name).write_text(text, encoding="utf-8")
        remove_old_parts(folder, part.stat().st_mtime - PART_SECONDS)
        if replace and folder.exists():
            folder.rename(aside)
        move_into_place(part, folder)
    except OSError as error:
        raise UserError(f"cannot write results into {folder.parent}: {error.strerror}; choose another out=") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(aside, ignore_errors=True)


def move_into_place(part: Path, folder: Path) -> None:
    """Rename a complete folder to `folder`, unless another process was faster. Raises OSError."""
    try:
        part.rename(folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def remove_old_parts(folder: Path, before: float) -> None:
    """Remove parts of `folder` that killed processes left behind before a time (seconds since 1970)."""
    for part in folder.parent.glob(f".{folder.name}.*.part"):
        with suppress(FileNotFoundError):
            if part.stat().st_mtime < before:
                shutil.rmtree(part, ignore_errors=True)
