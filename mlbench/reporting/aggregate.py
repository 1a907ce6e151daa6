"""From run folders to tables with error bars; reads only files, no torch."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mlbench.core.statistics import Spread, spread


@dataclass
class Finished:
    """A finished run of a sweep, under the label that says what is its own."""

    label: str
    folder: Path
    summary: dict[str, Any]

    @property
    def metrics(self) -> dict[str, float]:
        """What it measured."""
        return self.summary["metrics"]

    @property
    def headlines(self) -> dict[str, str]:
        """See `headlines`."""
        return self.summary.get("headlines", {})


def grouped(runs: Iterable[Finished]) -> dict[str, dict[str, Spread]]:
    """Spread of each metric over the runs that share a label, in order of first appearance."""
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        costs = {"train_seconds": run.summary["costs"]["train_seconds"]}
        for name, value in {**run.metrics, **costs}.items():
            values[run.label][name].append(value)
    return {label: {name: spread(found) for name, found in names.items()} for label, names in values.items()}


class Told(Protocol):
    """A run that says which of its metrics matter."""

    metrics: dict[str, float]
    headlines: dict[str, str]


def headlines(runs: Iterable[Told]) -> dict[str, str]:
    """The metrics that a table of these runs shows, the most telling first, and their good end: `high`, `low` or none.

    A run's technique says which these are (`Run.finish`); one that it did not measure is left out.
    """
    found: dict[str, str] = {}
    for run in runs:
        found |= {name: end for name, end in run.headlines.items() if name in run.metrics}
    return found
