"""Huffman coding of the artefact."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from mlbench.compress.base import Context, Method, Point


@dataclass
class Huffman(Method):
    """Huffman-code the indices and gaps in the artefact (Han et al. 2016, section 4); the weights stay the same.

    The frequent ones get short code words. The artefact contains the code tables (runs/codec/). The gain is largest
    after clustering, since single-precision values are not coded.
    """

    changes_weights = False
    keeps_network = True

    def compress(self, dense: Point, context: Context) -> Iterator[Point]:  # noqa: ARG002
        """Yield the same network, to be written entropy-coded."""
        yield replace(dense, stage="huffman", entropy=True)
