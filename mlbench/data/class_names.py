"""The names of classes as files and folders give them, brought to one line each."""

import re
import unicodedata
from collections.abc import Sequence

from mlbench.core.errors import UserError

UNPRINTABLE = re.compile(r"[\s\x00-\x1f\x7f-\x9f]+")  # white space, line breaks and what steers terminals


def class_names(names: Sequence[str], where: object) -> list[str]:
    """Names in composed letters (NFC) without line breaks, control characters, and white space at their ends.

    Args:
        names: As they were found.
        where: What they were found in.

    Raises:
        UserError: For a name that is empty or cannot be written as UTF-8, and for two that are the same.
    """
    cleaned = [UNPRINTABLE.sub(" ", unicodedata.normalize("NFC", name)).strip() for name in names]
    first: dict[str, str] = {}
    for name, found in zip(cleaned, names, strict=True):
        if any("\ud800" <= letter <= "\udfff" for letter in name):
            raise UserError(f"{where}: the name of the class {found!a} is not valid Unicode")
        if not name:
            raise UserError(f"{where}: the name of a class is {found!r}; each class needs a name that can be seen")
        if name in first:
            pair = "more than once" if first[name] == found else f"and {found!r}, which look the same"
            raise UserError(f"{where}: classes holds {first[name]!r} {pair}; each class needs its own name")
        first[name] = found
    return cleaned
