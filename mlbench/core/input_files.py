"""Reading of files that somebody else may have written: regular files alone, of bounded size, as plain values.

Nothing here waits for a FIFO, reads a device without end, resolves an interpolation or builds an object.
"""

import json
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import yaml

from mlbench.core.errors import UserError

MOST_BYTES = 2**24  # of a text
MOST_JSON_BYTES = 2**21  # those of a run have some thousands
MOST_YAML_BYTES = 2**20
DEEPEST = 64  # levels of lists and mappings inside one another
LONGEST = 400  # digits of a number
LARGEST = 2**64  # of whole numbers
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # libyaml's reader is ten times faster, and not everywhere
    """Reads scalars as OmegaConf does: 1e-05 is a number, 2020-01-01 is a text."""

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> str:
        """The text of a scalar. Raises ValueError for a number of very many digits: 1:1:1:... takes quadratic time."""
        if node.tag.endswith((":int", ":float")) and len(node.value) > LONGEST:
            raise ValueError(f"a number in it has {len(node.value)} digits")
        return super().construct_scalar(node)


Loader.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":timestamp", ":float", ":merge"))]
    for letter, resolvers in Loader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"""^(?:[-+]?[0-9]+(?:_[0-9]+)*\.[0-9_]*(?:[eE][-+]?[0-9]+)?
            |[-+]?[0-9]+(?:_[0-9]+)*(?:[eE][-+]?[0-9]+)
            |\.[0-9]+(?:_[0-9]+)*(?:[eE][-+][0-9]+)?
            |[-+]?[0-9]+(?:_[0-9]+)*(?::[0-5]?[0-9])+\.[0-9_]*
            |[-+]?\.(?:inf|Inf|INF)
            |\.(?:nan|NaN|NAN))$""",
        re.X,
    ),
    list("-+0123456789."),
)


def not_regular(path: Path) -> str:
    """What is in the place of a file that is none, such as `a folder`; empty for a file. Raises OSError."""
    return KINDS.get(stat.S_IFMT(path.stat().st_mode), "")


def open_regular(path: Path) -> IO[bytes]:
    """Open a file for reading.

    Raises:
        UserError: For what is no regular file: a folder, a FIFO, a device. It is not opened, which could wait for ever.
        OSError: If it is not there or cannot be read.
    """
    if what := not_regular(path):
        raise UserError(f"{path} is {what}, not a file")
    at_once = getattr(os, "O_NONBLOCK", 0)  # what has become a FIFO since is opened without waiting
    stream = open(path, "rb", opener=lambda name, flags: os.open(name, flags | at_once))  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise UserError(f"{path} is not a regular file")
    return stream


def read_bytes(path: Path, most: int | None = None) -> bytes:
    """The content of a regular file.

    Args:
        path: The file.
        most: How many bytes it may have; None for any number.

    Raises:
        UserError: For what is no regular file, and for one with more bytes.
        OSError: If it is not there or cannot be read.
    """
    with open_regular(path) as stream:
        content = stream.read() if most is None else stream.read(most + 1)
    if most is not None and len(content) > most:
        raise UserError(f"{path} is too large: it has more than {most} bytes")
    return content


def read_text(path: Path, most: int | None = MOST_BYTES) -> str:
    """The content of a regular file in UTF-8, a mark of byte order left out.

    Raises UserError and OSError as `read_bytes`, and UserError for bytes that are no UTF-8.
    """
    try:
        return read_bytes(path, most).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text in UTF-8 ({error.reason} at byte {error.start})") from error


def read_json(path: Path) -> Any:
    """The content of a JSON file as plain values.

    Raises:
        UserError: For what is no regular file, no JSON, larger than MOST_JSON_BYTES or not as `check_plain` asks.
        OSError: If it is not there or cannot be read.
    """
    return plain_values(path, "JSON", json.loads, read_text(path, MOST_JSON_BYTES))


def read_yaml(path: Path) -> Any:
    """The content of a YAML file as plain values; `${...}` stays the text that it is.

    Raises:
        UserError: For what is no regular file, no YAML, larger than MOST_YAML_BYTES or not as `check_plain` asks; tags
            (`!!python/...`) and aliases are among that.
        OSError: If it is not there or cannot be read.
    """
    return plain_values(path, "YAML", lambda text: yaml.load(text, Loader=Loader), read_text(path, MOST_YAML_BYTES))


def plain_values(path: Path, kind: str, parse: Callable[[str], Any], text: str) -> Any:
    """What `parse` makes of a text, if it is plain values. Raises UserError naming the file and why it is not."""
    try:
        values = parse(text)
        check_plain(values)
    except (ValueError, OverflowError, yaml.YAMLError, RecursionError, TypeError) as error:
        reason = "too deep" if isinstance(error, RecursionError) else " ".join(str(error).split())
        raise UserError(f"{path} is not valid {kind} ({reason})") from error
    return values


def check_plain(values: Any, most: int | None = None) -> None:
    """Check that nested dicts and lists hold texts and numbers and nothing else, `most` of them if that is given.

    Raises ValueError for other objects, for whole numbers beyond 64 bits, for text that is no Unicode (a lone
    surrogate), for keys that are neither all texts nor all whole numbers, for a part that is there twice or contains
    itself, and for more than DEEPEST levels.
    """
    seen: set[int] = set()
    level, count = [values], 0
    for _ in range(DEEPEST + 1):
        inside: list[Any] = []
        count += len(level)
        if most is not None and count > most:
            raise ValueError(f"it has more than {most} values")
        for value in level:
            if isinstance(value, dict | list):
                if id(value) in seen:
                    raise ValueError("a part of it refers to itself or to another part")
                seen.add(id(value))
                inside += value if isinstance(value, list) else [*keys_of(value), *value.values()]
            else:
                check_scalar(value)
        if not inside:
            return
        level = inside
    raise ValueError(f"it is nested more than {DEEPEST} levels deep")


def keys_of(mapping: dict[Any, Any]) -> list[Any]:
    """The keys of a mapping. Raises ValueError unless all are texts or all are whole numbers."""
    if len({type(key) for key in mapping} - {str}) > 0 and {type(key) for key in mapping} != {int}:
        raise ValueError("the names in it are no texts")
    return list(mapping)


def check_scalar(value: Any) -> None:
    """Raise ValueError for what is neither a text of Unicode, a number, true, false, nor null."""
    if isinstance(value, str):
        value.encode()  # UnicodeEncodeError is a ValueError
    elif isinstance(value, int):
        if abs(value) >= LARGEST:
            raise ValueError("a whole number in it has more than 64 bits")
    elif not (value is None or isinstance(value, float)):
        raise ValueError(f"it holds an object of kind {type(value).__name__}")
