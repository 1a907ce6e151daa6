"""One method after another."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from mlbench.compress.base import Method, Point, Workbench
from mlbench.core.errors import RunError, SettingError, UserError, nearest, require
from mlbench.core.instantiate import Blueprint
from mlbench.data.modality import EVERY, Modality
from mlbench.data.split import Split
from mlbench.runs.results import Row


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
        acting = [name for name in stages if not methods[name].passes_on]
        for before, name in pairwise(acting):
            told = f"before {before}, which leaves no weights to change"
            require(methods[before].leaves_weights or not methods[name].changes_weights, "stages", name, told)
        self.stages, self.methods = stages, methods
        self.changes_weights = bool(acting) and methods[acting[0]].changes_weights  # the next get what it yields

    @property
    def modalities(self) -> tuple[type[Modality], ...]:
        """Those that all stages take."""
        return tuple(kind for kind in EVERY if all(kind in self.methods[name].modalities for name in self.stages))

    def blueprints(self) -> list[Blueprint]:
        """Those of all stages."""
        return [blueprint for name in self.stages for blueprint in self.methods[name].blueprints()]

    def networks(self) -> list[Path]:
        """Those of all stages."""
        return [path for name in self.stages for path in self.methods[name].networks()]

    def files(self) -> list[Path]:
        """Those of all stages."""
        return [path for name in self.stages for path in self.methods[name].files()]

    def check(self, net: nn.Module) -> None:
        """What each stage has to say."""
        for name in self.stages:
            self.methods[name].check(net)

    def compress(self, dense: Point, bench: Workbench) -> Iterator[Point]:
        """The points of all stages. Raises RunError for a stage that cannot follow on the network of the one before."""
        point, step = dense, 0
        self.steps = [0]  # the last point of each stage, the dense network's before them
        for name in self.stages:
            try:
                self.methods[name].check(point.net)
            except (SettingError, UserError) as error:
                raise RunError(f"stage {name} does not go with what is before it: {error}") from error
            for point in self.methods[name].compress(point, bench):  # noqa: B020
                step += 1
                yield point
            self.steps.append(step)

    def metrics(self, rows: list[dict[str, Any]], correct: np.ndarray) -> dict[str, float]:
        """Those of each stage on its own points, of which the one before it is the dense network."""
        found = {}
        for name, (first, last) in zip(self.stages, pairwise(self.steps), strict=True):
            own = slice(first, last + 1)
            found |= self.methods[name].metrics(rows[own], correct[own])
        return found

    def grids(self, test: Split) -> dict[str, list[Row]]:
        """Those of all stages."""
        return {title: rows for name in self.stages for title, rows in self.methods[name].grids(test).items()}
