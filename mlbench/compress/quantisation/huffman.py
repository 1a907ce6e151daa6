"""Entropy coding."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from mlbench.compress.base import Method, Point, Workbench


@dataclass
class Huffman(Method):
    """Indices and gaps get words as long as they are rare (Han et al. 2016, section 4); the weights stay the same.

    The code tables are in the file (codec/coding.py). Worth most after clustering: single-precision values are not
    coded.
    """

    changes_weights = False
    passes_on = True

    def compress(self, dense: Point, bench: Workbench) -> Iterator[Point]:  # noqa: ARG002
        """The same network in a shorter file."""
        yield replace(dense, stage="huffman", entropy=True)
