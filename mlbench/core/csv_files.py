"""Tables as csv files, whose texts no spreadsheet takes for a formula."""

import csv
import io
import math
from collections.abc import Generator, Iterable
from itertools import chain
from pathlib import Path
from typing import IO

from mlbench.core.atomic_io import write_whole

FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")  # how one begins, also in full width


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
