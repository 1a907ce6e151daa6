"""Names of the figures of photographs, which are those of their files as far as every system takes them."""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

LETTERS = 48  # of a file's name in that of its figure: file systems take 255 bytes, up to four a letter
OTHERS = ("loss", "confusion", "reliability")  # figures of the training


def figure_names(paths: Sequence[Path], taken: set[str]) -> list[str]:
    """Names of figures after those of files, without their ending: none twice, and none of those `taken` by others.

    What other systems do not allow in a name becomes `_`, long names are cut, one that is `taken` stands behind
    `photograph_`, and later ones of several that are the same but for capitals, which some systems do not tell apart,
    get a number.
    """
    others = {name.casefold() for name in (*taken, *OTHERS)}
    found, used = [], set(others)
    for path in paths:
        letters = re.sub(r"[^\w.-]+", "_", unicodedata.normalize("NFC", path.stem)).lstrip(".")
        stem = letters[:LETTERS] or "_"
        name = stem = f"photograph_{stem}" if stem.casefold() in others else stem
        number = 1
        while name.casefold() in used:
            number += 1
            name = f"{stem}_{number}"
        used.add(name.casefold())
        found.append(name)
    return found
