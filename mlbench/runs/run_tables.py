"""The tables of run folders of anybody: bounded, a text in every cell, and one kind of error for all that is wrong."""

import csv
import io
import math
import sys
import tokenize
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile

from mlbench.core.csv_files import read_table
from mlbench.core.errors import UserError
from mlbench.core.input_files import read_text
from mlbench.core.plain_text import printable
from mlbench.runs import layout

Content = TypeVar("Content")
Rows = list[dict[str, str]]  # of a table: column -> cell

READ_ERRORS = (
    UserError,
    ValueError,
    ArithmeticError,
    LookupError,
    TypeError,
    EOFError,
    SyntaxError,
    NotImplementedError,
)
READ_ERRORS += (csv.Error, zlib.error, tokenize.TokenError, BadZipFile)
FOLDERS = (layout.ARTEFACTS, layout.FIGURES, layout.CHECKPOINTS)
LARGEST = 1e100  # of a measurement: sums and squares of such numbers are finite
LETTERS = 160  # of a reason that are shown
MOST_CELLS = 100_000  # of a table
MOST_ACCURACIES = 1_000_000  # of a matrix R: of a thousand tasks


class UnreadableRun(Exception):
    """Why a run, or a file of it, cannot be used, in one line."""


def attempt(path: Path, reader: Callable[[Path], Content]) -> Content:
    """What `reader` makes of a file of a run.

    Raises UnreadableRun, with the file's name, for whatever goes wrong, and for a link: it could bring any file of this
    machine into a page that is sent on.
    """
    try:
        if path.is_symlink() or (path.parent.is_symlink() and path.parent.name in FOLDERS):
            raise UnreadableRun("it is a symbolic link")
        return reader(path)
    except UnreadableRun as error:
        reason = str(error)
    except FileNotFoundError:
        reason = "it is not there"
    except OSError as error:
        reason = error.strerror or "it cannot be opened"
    except READ_ERRORS as error:
        reason = str(error).replace(f"{path} ", "")
    except (RecursionError, MemoryError):
        reason = "it is too deep or too large"
    reason = printable(" ".join(reason.split()))
    raise UnreadableRun(f"{path.name} cannot be read: {reason[:LETTERS]}")


def read_of(folder: Path, name: str, reader: Callable[[Path], Content]) -> Content | None:
    """What `reader` makes of a file of a run; None where there is none or, with a line on stderr, a broken one."""
    path = folder / name
    try:
        return attempt(path, reader) if path.exists() else None
    except UnreadableRun as error:
        print(printable(f"left out: {folder}: {error}"), file=sys.stderr)
        return None


def is_measurement(value: Any) -> bool:
    """Whether this is a finite number with which one can compute."""
    return isinstance(value, int | float) and math.isfinite(value) and abs(value) <= LARGEST


def valid_rows(path: Path) -> Rows:
    """The rows of a run's table, with a text in every cell. Raises UserError, UnreadableRun, OSError, csv.Error."""
    header, *rows = bounded_table(path, MOST_CELLS) or [[]]
    width = len(header)
    return [dict(zip(header, (row + [""] * width)[:width], strict=True)) for row in rows]


def valid_matrix(path: Path) -> dict[int, list[float]]:
    """Accuracies by the number of tasks learned, from accuracy_matrix.csv.

    Raises UserError, OSError, csv.Error and, where numbers are missing, ValueError or UnreadableRun.
    """
    _, *rows = bounded_table(path, MOST_ACCURACIES) or [[]]
    matrix = {int(row[0]): [float(cell) for cell in row[1:]] for row in rows}
    if not matrix or not all(row and all(map(is_measurement, row)) for row in matrix.values()):
        raise UnreadableRun("a row without all its numbers")
    if min(matrix) < 0 or any(learned > len(row) for learned, row in matrix.items()):
        raise UnreadableRun("a row has fewer tasks than were learned")
    return matrix


def bounded_table(path: Path, most: int) -> list[list[str]]:
    """The rows of a table that are not empty, the header first. Raises UserError, UnreadableRun, OSError, csv.Error."""
    table, cells = [], 0
    for row in read_table(io.StringIO(read_text(path), newline="")):
        if row:
            table.append([printable(cell) for cell in row])
            cells += max(len(row), len(table[0]))
        if cells > most:
            raise UnreadableRun(f"it has more than {most} cells")
    return table
