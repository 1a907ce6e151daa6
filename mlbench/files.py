"""Files that appear whole or not at all."""

import csv
import io
import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import IO

from mlbench.errors import RunError


def write_whole(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Let `write` fill a file beside `path`, then put it in its place: a reader sees the old file or the new one.

    Raises RunError naming the file when it cannot be written (disk full, no permission).
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
    """Write a table, whole or not at all."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    write_text(path, text.getvalue())


def write_json(path: Path, content: object) -> None:
    """Write `content` as readable JSON, whole or not at all; NaN is refused (a metric not defined is left out)."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")
