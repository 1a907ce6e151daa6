"""No compression: the network as it is, measured."""

from collections.abc import Iterator
from dataclasses import dataclass

from mlbench.compress.base import Context, Method, Point


@dataclass
class Measure(Method):
    """Only measures: parameters, bytes, multiply-adds and latency of the network, and of each layer (layers.csv)."""

    changes_weights = False
    keeps_network = True

    def compress(self, dense: Point, context: Context) -> Iterator[Point]:  # noqa: ARG002
        """Yield nothing; the dense network is measured anyway."""
        return iter(())
