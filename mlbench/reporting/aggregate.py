"""From runs to tables with error bars; reads only files, no torch."""

from collections import defaultdict
from collections.abc import Iterable

from mlbench.core.statistics import Spread, spread
from mlbench.runs.run_record import RunRecord

# passes over the data, stored examples, whether the task is told at test time: costs of lifelong runs
BUDGET = {"passes": "passes", "memory_examples": "stored examples", "task_told": "task told"}


def spreads_by_label(runs: Iterable[RunRecord]) -> dict[str, dict[str, Spread]]:
    """The spread of each metric, of the training time and of the BUDGET over the runs that share a label.

    Args:
        runs: finished runs with labels.

    Returns:
        Label -> metric -> spread over the runs, in the order in which the labels first appear.
    """
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        costs = {name: run.costs[name] for name in ("train_seconds", *BUDGET) if name in run.costs}
        for name, value in {**run.metrics, **costs}.items():
            values[run.label][name].append(value)
    return {label: {name: spread(own) for name, own in metrics.items()} for label, metrics in values.items()}


def headlines(runs: Iterable[RunRecord]) -> dict[str, str]:
    """The metrics that a table of these runs shows, the most telling first, and their good end: `high`, `low` or none.

    A run's technique says which these are (`Run.finish`); one that it did not measure is left out.
    """
    ends: dict[str, str] = {}
    for run in runs:
        ends |= {name: end for name, end in run.headlines.items() if name in run.metrics}
    return ends


def budget_cell(name: str, value: float) -> str:
    """A mean of one of BUDGET as tables show it."""
    if name == "task_told":
        return "yes" if value else "no"
    return f"{value:,.1f}" if name == "passes" else f"{value:,.0f}"
