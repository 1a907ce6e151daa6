"""A sheet for each photograph of one's own: at the resolution of its file, with the answers and the map over it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from mlbench.core.plain_text import printable
from mlbench.data.picture_decoder import decode_at_own_size
from mlbench.explain.attribution.examples import Examples
from mlbench.explain.base import Attribution
from mlbench.runs.results import Sheet

MOST = 1024  # pixels a side that are drawn
AMOUNTS = ("speaks against\nthe class", "speaks for\nthe class")  # what the ends of the colours mean
GRADIENTS = ("class less probable\nwhere brighter", "class more probable\nwhere brighter")


def sheets(
    paths: Sequence[Path],
    crop: float,
    examples: Examples,
    name: str,
    maps: Sequence[np.ndarray],
    ends: tuple[str, str],
    predictions: Sequence[dict[str, object]],
) -> Iterator[Sheet]:
    """A sheet for each file.

    Args:
        paths: The files.
        crop: The share of their shorter side that the examples show.
        examples: The same as the network sees them, [n, C, size, size].
        name: Of the method.
        maps: Signed numbers [size, size] over each.
        ends: What their smallest and their largest values mean.
        predictions: Rows of `file`, `rank`, `class` and `probability`, equally many for each file, in their order.
    """
    channels, size, _ = examples.x.shape[1:]
    ranks = len(predictions) // len(paths)
    for number, (path, each) in enumerate(zip(paths, maps, strict=True)):
        own = predictions[number * ranks : (number + 1) * ranks]
        yield Sheet(
            own[0]["file"],
            partial(decode_at_own_size, path, size, channels == 1, crop, MOST),
            [(f"{name}, {examples.title(number)}", each)],
            ends,
            [row["class"] for row in own],
            [row["probability"] for row in own],
        )


def ends(method: Attribution) -> tuple[str, str]:
    """What the smallest and the largest values of the maps of a method mean."""
    return AMOUNTS if method.amounts else GRADIENTS


def file_names(paths: Sequence[Path]) -> list[str]:
    """The names of files in one line, with their folder where several have the same."""
    count = Counter(path.name for path in paths)
    return [printable(path.name if count[path.name] == 1 else f"{path.parent.name}/{path.name}") for path in paths]
