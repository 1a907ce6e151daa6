"""From runs to tables with error bars; reads only files, no torch."""

from collections import defaultdict
from collections.abc import Iterable

from mlbench.core.statistics import Spread, spread
from mlbench.runs.run_record import RunRecord

CONTROLS = ("random", "edges", "input", "wrong_class")  # of maps: what knows nothing of the network, or of the class
TRAINING = ("train_seconds", "finetune_seconds")  # costs: of the network, and of what a technique made of it
# passes over the data, stored examples, whether the task is told at test time: costs of lifelong runs
BUDGET = {"passes": "passes", "memory_examples": "stored examples", "task_told": "task told"}


def training_seconds(run: RunRecord) -> float | None:
    """Seconds of all training of a run, in whatever phase; None where it has noted none."""
    times = [run.costs[name] for name in TRAINING if name in run.costs]
    return sum(times) if times else None


def spreads_by_label(runs: Iterable[RunRecord]) -> dict[str, dict[str, Spread]]:
    """The spread of each metric, of the training time and of the BUDGET over the runs that share a label.

    Args:
        runs: finished runs with labels.

    Returns:
        Label -> metric -> spread over the runs, in the order in which the labels first appear.
    """
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        costs = {name: run.costs[name] for name in BUDGET if name in run.costs}
        for name, value in {**run.metrics, **costs, "train_seconds": training_seconds(run) or 0.0}.items():
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


def with_controls(label: str, spreads: dict[str, Spread], ends: dict[str, str]) -> dict[str, dict[str, Spread]]:
    """The rows of a table for one label: its own, and below it one for each control of a map that has such scores.

    Args:
        label: What the first row is called.
        spreads: The spread of each metric of the label, those of controls as `control_<name>_<metric>`.
        ends: The metrics that the table shows.

    Returns:
        Name of the row -> metric -> spread.
    """
    rows = {label: spreads}
    for control in CONTROLS:
        prefix = f"control_{control}_"
        if own := {name: spreads[prefix + name] for name in ends if prefix + name in spreads}:
            rows[f"control: {control.replace('_', ' ')}"] = own
    return rows


def budget_cell(name: str, value: float) -> str:
    """A mean of one of BUDGET as tables show it."""
    if name == "task_told":
        return "yes" if value else "no"
    return f"{value:,.1f}" if name == "passes" else f"{value:,.0f}"
