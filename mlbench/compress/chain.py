"""One method after another."""

from collections.abc import Iterator

from torch import nn

from mlbench.compress.base import Method, Point, Workbench
from mlbench.errors import RunError, SettingError, nearest, require


class Chain(Method):
    """Each stage starts from the last point of the one before.

    Deep Compression (Han et al. 2016) is prune, cluster, huffman.
    """

    def __init__(self, stages: list[str], **methods: Method):
        require(bool(stages), "stages", stages, "one method or more")
        for name in stages:
            require(name in methods, "stages", name, f"{', '.join(methods)}{nearest(name, methods)}")
        for name in stages[1:]:
            told = "as the first stage: from the untrained network, where it begins, all before it would be lost"
            require(not methods[name].begins_anew, "stages", name, told)
        self.stages, self.methods = stages, methods

    def check(self, net: nn.Module) -> None:
        """What each stage has to say."""
        for name in self.stages:
            self.methods[name].check(net)

    def compress(self, dense: Point, bench: Workbench) -> Iterator[Point]:
        """The points of all stages. Raises RunError for a stage that cannot follow on the network of the one before."""
        point = dense
        for name in self.stages:
            try:
                self.methods[name].check(point.net)
            except SettingError as error:
                raise RunError(f"stage {name} does not go with what is before it: {error}") from error
            for point in self.methods[name].compress(point, bench):  # noqa: B020
                yield point
