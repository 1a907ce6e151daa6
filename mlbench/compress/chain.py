"""A chain of compression methods, one after another."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from mlbench.compress.base import Context, Method, Point
from mlbench.core.errors import RunError, SettingError, UserError, nearest, require
from mlbench.core.instantiate import Blueprint
from mlbench.data.modality import EVERY, Modality
from mlbench.data.split import Split
from mlbench.runs.results import Row


class Chain(Method):
    """A chain of methods; each stage starts from the last point of the stage before it.

    Deep Compression (Han et al. 2016) is the chain of prune, cluster and huffman.

    Args:
        stages: Names of the methods, in order.
        **methods: Name -> method, for every method that may be a stage.

    Raises:
        SettingError: For an unknown stage, and for stages that cannot follow one another.
    """

    def __init__(self, stages: list[str], **methods: Method):
        require(bool(stages), "stages", stages, "one method or more")
        for name in stages:
            require(name in methods, "stages", name, f"{', '.join(methods)}{nearest(name, methods)}")
        for name in stages[1:]:
            allowed = "as the first stage: from the untrained network, where it begins, all before it would be lost"
            require(not methods[name].from_scratch, "stages", name, allowed)
        acting = [name for name in stages if not methods[name].keeps_network]
        for before, name in pairwise(acting):
            allowed = f"before {before}, which leaves no weights to change"
            require(methods[before].yields_weights or not methods[name].changes_weights, "stages", name, allowed)
        self.stages, self.methods = stages, methods
        self.changes_weights = (
            bool(acting) and methods[acting[0]].changes_weights
        )  # later stages get the first one's layers

    @property
    def modalities(self) -> tuple[type[Modality], ...]:
        """Those that all stages take."""
        return tuple(kind for kind in EVERY if all(kind in self.methods[name].modalities for name in self.stages))

    def parts(self) -> list[tuple[str, Method]]:
        """The stages."""
        return [(name, self.methods[name]) for name in self.stages]

    def blueprints(self) -> list[Blueprint]:
        """Models that the stages will build."""
        return [blueprint for name in self.stages for blueprint in self.methods[name].blueprints()]

    def networks(self) -> list[Path]:
        """Checkpoints that the stages will read."""
        return [path for name in self.stages for path in self.methods[name].networks()]

    def files(self) -> list[Path]:
        """Files and folders that the stages read."""
        return [path for name in self.stages for path in self.methods[name].files()]

    def changed(self, net: nn.Module) -> dict[str, nn.Parameter]:
        """Those that any stage may change."""
        return {name: weight for stage in self.stages for name, weight in self.methods[stage].changed(net).items()}

    def check(self, net: nn.Module) -> None:
        """Raise SettingError or UserError where any stage would."""
        for name in self.stages:
            self.methods[name].check(net)

    def compress(self, dense: Point, context: Context) -> Iterator[Point]:
        """Yield the points of all stages. Raises RunError where a stage cannot handle the network before it."""
        point, step = dense, 0
        self.steps = [0]  # number of the last point of each stage, and of the dense network before them
        for name in self.stages:
            try:
                self.methods[name].check(point.net)
            except (SettingError, UserError) as error:
                raise RunError(f"stage {name} does not go with what is before it: {error}") from error
            for point in self.methods[name].compress(point, context):  # noqa: B020
                step += 1
                yield point
            self.steps.append(step)

    def metrics(self, rows: list[dict[str, Any]], correct: np.ndarray) -> dict[str, float]:
        """The metrics of all stages, each from its own points and the one before them as its dense network."""
        metrics = {}
        for name, (first, last) in zip(self.stages, pairwise(self.steps), strict=True):
            own = slice(first, last + 1)
            metrics |= self.methods[name].metrics(rows[own], correct[own])
        return metrics

    def grids(self, test: Split) -> dict[str, list[Row]]:
        """The figures of all stages."""
        return {title: rows for name in self.stages for title, rows in self.methods[name].grids(test).items()}
