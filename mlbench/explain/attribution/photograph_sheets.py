"""A sheet for each photograph of one's own: at the resolution of its file, with the answers and the map over it."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from mlbench.core.plain_text import printable
from mlbench.data.picture_decoder import decode_at_own_size
from mlbench.explain.attribution.examples import Examples
from mlbench.runs.results import Sheet

MOST = 1024  # pixels a side that are drawn
LETTERS = 48  # of a file's name in that of its figure: file systems take 255 bytes, up to four a letter
OTHERS = ("loss", "confusion", "reliability")  # figures of the training
AMOUNTS = ("speaks against\nthe class", "speaks for\nthe class")  # what the ends of the colours mean
GRADIENTS = ("class less probable\nwhere brighter", "class more probable\nwhere brighter")


def sheets(
    paths: Sequence[Path],
    crop: float,
    examples: Examples,
    name: str,
    maps: Sequence[np.ndarray],
    amounts: bool,
    predictions: Sequence[dict[str, object]],
) -> Iterator[Sheet]:
    """A sheet for each file.

    Args:
        paths: The files.
        crop: The share of their shorter side that the examples show.
        examples: The same as the network sees them, [n, C, size, size].
        name: Of the method.
        maps: Signed numbers [size, size] over each.
        amounts: Whether these speak for and against the class; else they are gradients.
        predictions: Rows of `file`, `rank`, `class` and `probability`, equally many for each file, in their order.
    """
    channels, size, _ = examples.x.shape[1:]
    ranks = len(predictions) // len(paths)
    for number, (path, each) in enumerate(zip(paths, maps, strict=True)):
        own = predictions[number * ranks : (number + 1) * ranks]
        yield Sheet(
            own[0]["file"],
            partial(decode_at_own_size, path, size, channels == 1, crop, MOST),
            f"{name}, {examples.title(number)}",
            each,
            AMOUNTS if amounts else GRADIENTS,
            [row["class"] for row in own],
            [row["probability"] for row in own],
        )


def file_names(paths: Sequence[Path]) -> list[str]:
    """The names of files in one line, with their folder where several have the same."""
    count = Counter(path.name for path in paths)
    return [printable(path.name if count[path.name] == 1 else f"{path.parent.name}/{path.name}") for path in paths]


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
