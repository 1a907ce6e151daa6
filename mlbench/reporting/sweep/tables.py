"""What a sweep leaves beside its list of jobs: tables over its runs, and figures drawn from them. No torch."""

from collections import defaultdict
from pathlib import Path
from statistics import fmean

from mlbench.core.csv_files import write_csv
from mlbench.core.statistics import Spread, components, spread
from mlbench.reporting.aggregate import headlines, spreads_by_label
from mlbench.reporting.figures import comparisons
from mlbench.reporting.over_time import OVER_TIME
from mlbench.reporting.points import gather_points
from mlbench.reporting.sweep.labels import number_of_each, one_number
from mlbench.reporting.sweep.maps import write_maps
from mlbench.runs import layout
from mlbench.runs.point_columns import POINT_COSTS
from mlbench.runs.run_record import RunRecord
from mlbench.runs.run_tables import read_of, valid_matrix, valid_rows

NAMING = ("data.order_seed",)  # numbers that name a thing and measure nothing
LINES = 4  # in a panel of the figure over a setting


def write_sweep(runs: list[RunRecord], folder: Path) -> list[Path]:
    """Write sweep.csv, comparison.csv and the figures that these runs can fill; the paths of all of them."""
    groups, ends = spreads_by_label(runs), headlines(runs)
    metrics = list(ends)
    rows = [[label, name, *cells(value)] for label, spreads in groups.items() for name, value in spreads.items()]
    table = folder / layout.SWEEP_TABLE
    write_csv(table, ["setting", "metric", "mean", "half_interval", "runs"], rows)
    setting, values = one_number(list(groups))
    if setting in NAMING:
        return [table, *write_bars(groups, metrics, folder), *write_orders(runs, folder)]
    if values:
        over = write_over_setting(groups, ends, setting, values, folder)
    else:
        over = write_side_by_side(groups, metrics, folder)
    return [
        table,
        *write_bars(groups, metrics, folder),
        *write_curves(runs, values, folder),
        *write_points(runs, folder),
        *write_maps(runs, folder),
        *over,
    ]


def write_orders(runs: list[RunRecord], folder: Path) -> list[Path]:
    """orders.csv: how far each metric spreads over the orders of the tasks, and how far over the seeds of one order."""
    values_of: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        for metric in headlines([run]):
            values_of[metric][run.label].append(run.metrics[metric])
    rows = []
    for metric, orders in values_of.items():
        values = list(orders.values())
        if len({len(seeds) for seeds in values}) == 1 and len(values[0]) > 1:
            means = [fmean(seeds) for seeds in values]
            rows.append([metric, *components(values), min(means), max(means), len(values), len(values[0])])
    if not rows:
        return []
    table = folder / layout.ORDERS_TABLE
    write_csv(table, ["metric", "sd_orders", "sd_seeds", "worst_order", "best_order", "orders", "seeds"], rows)
    return [table]


def write_bars(groups: dict[str, dict[str, Spread]], metrics: list[str], folder: Path) -> list[Path]:
    """A picture of the first headline metric."""
    if not metrics:
        return []
    metric = metrics[0]
    picture = folder / f"{metric}.png"
    bars = [(label, spreads[metric]) for label, spreads in groups.items() if metric in spreads]
    comparisons.draw_bars(bars, metric, picture)
    return [picture]


def write_curves(runs: list[RunRecord], values: dict[str, float], folder: Path) -> list[Path]:
    """comparison.csv and its figure, where runs were measured after every task; in the order of `values`, if any."""
    accuracies_of: dict[tuple[str, int, str], list[float]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: values.get(run.label, 0.0)):
        for learned, row in (read_of(run.folder, layout.ACCURACY_MATRIX, valid_matrix) or {}).items():
            if learned:
                for metric, (_, value) in OVER_TIME.items():
                    accuracies_of[run.label, learned, metric].append(value(learned, row))
    if len({learned for _, learned, _ in accuracies_of}) < 2:
        return []
    rows = [[*about, *cells(spread(accuracies))] for about, accuracies in accuracies_of.items()]
    table, picture = folder / layout.COMPARISON_TABLE, folder / "comparison.png"
    write_csv(table, ["setting", "tasks_learned", "metric", "mean", "half_interval", "runs"], rows)
    comparisons.draw_curves(table, picture, ordered=bool(values))
    return [table, picture]


def write_points(runs: list[RunRecord], folder: Path) -> list[Path]:
    """points.csv, the compressed networks of all runs, one row for each setting, point and metric, and its figures."""
    points = gather_points((run.label, read_of(run.folder, layout.POINTS, valid_rows) or []) for run in runs)
    if not points:
        return []
    table = folder / layout.POINTS
    rows = [[*key, name, *cells(value)] for key, numbers in points.items() for name, value in numbers.items()]
    write_csv(table, ["setting", "step", "stage", "metric", "mean", "half_interval", "runs"], rows)
    whole = [cost for cost in POINT_COSTS if any({"accuracy", cost} <= numbers.keys() for numbers in points.values())]
    return [table, *(comparisons.draw_points(table, cost, folder / f"accuracy_{cost}.png") for cost in whole)]


def write_over_setting(
    groups: dict[str, dict[str, Spread]], ends: dict[str, str], setting: str, values: dict[str, float], folder: Path
) -> list[Path]:
    """The headline metrics, with their good `ends`, over the one number in which the labels differ, and what is paid in
    one metric for another."""
    if not ends:
        return []
    points = [(value, groups[label]) for label, value in values.items()]
    over, trade_off = over_picture(setting, folder), folder / "trade_off.png"
    comparisons.draw_over_setting(setting, points, panels_of(ends, [spreads for _, spreads in points]), over)
    for cost in ("intransigence", "joint_gap", "learning_accuracy"):
        if all("forgetting" in spreads and cost in spreads for _, spreads in points):
            comparisons.draw_trade_off(setting, points, ("forgetting", cost), trade_off)
            return [over, trade_off]
    return [over]


def panels_of(ends: dict[str, str], points: list[dict[str, Spread]]) -> list[list[str]]:
    """Metrics that share a panel: all accuracies, and headlines with the same good end; first those that vary.

    A panel in which nothing varies over the points is left out unless it is the only one.
    """
    measured = {name: None for spreads in points for name in spreads if "accuracy" in name}  # in order
    names = dict.fromkeys([*ends, *measured])
    varying = {name for name in names if len({spreads[name].mean for spreads in points if name in spreads}) > 1}
    panels: dict[str, list[str]] = defaultdict(list)
    for name in names:
        panels["accuracy" if "accuracy" in name else ends[name]].append(name)
    drawn = [sorted(panel, key=lambda name: name not in varying)[:LINES] for panel in panels.values()]
    return [panel for panel in drawn if panel[0] in varying] or drawn[:1]


def write_side_by_side(groups: dict[str, dict[str, Spread]], metrics: list[str], folder: Path) -> list[Path]:
    """The first headline metric over one number that several techniques have, a line for each of them."""
    setting, techniques = number_of_each(list(groups))
    if not techniques or not metrics:
        return []
    over: dict[float, dict[str, Spread]] = defaultdict(dict)
    for technique, values in techniques.items():
        for label, value in values.items():
            if metrics[0] in groups[label]:
                over[value][technique] = groups[label][metrics[0]]
    path = over_picture(setting, folder)
    comparisons.draw_over_setting(setting, sorted(over.items()), [list(techniques)], path, metrics[0])
    return [path]


def over_picture(setting: str, folder: Path) -> Path:
    """Where the figure over this setting stands."""
    return folder / f"over_{setting.rpartition('.')[2]}.png"


def cells(value: Spread) -> list[object]:
    """Mean, half the interval (empty for a single run) and number of runs, as they stand in tables."""
    return [value.mean, "" if value.half is None else value.half, value.count]
