"""The part of the report on compression: accuracy against bytes, multiply-adds and latency, with the Pareto front."""

import numpy as np

from mlbench.core.pareto import pareto_front
from mlbench.reporting.html import page, svg_charts
from mlbench.reporting.html.page import Cell, Column, Section
from mlbench.reporting.html.svg_charts import Series
from mlbench.reporting.points import LABELS_UP_TO, Points, gather_points
from mlbench.reporting.report.drawing import drawn
from mlbench.reporting.report.grouping import Comparison
from mlbench.reporting.report.run_records import Records
from mlbench.reporting.report.table_export import Sheet, cell_text
from mlbench.runs import layout
from mlbench.runs.point_columns import POINT_COSTS, POINT_NUMBERS

SETTINGS = 16  # in one chart
DIGITS = 10  # of the number of a step, at most
FRONT = 7  # its colour
LEAD = (
    "Every network that a method made was written to a file, read back by another process, tested and timed. Means "
    "over seeds with 95 % intervals; diamonds are the networks before compression; no point lies above and left of "
    "the line, the Pareto front."
)


def points_of_each(comparisons: list[Comparison], records: Records) -> list[tuple[Comparison, Points]]:
    """The comparisons that have points, with these."""
    return [(comparison, points) for comparison in comparisons if (points := points_of(comparison, records))]


def section(groups: list[tuple[Comparison, Points]]) -> Section | None:
    """Charts and tables of the points of each comparison; None where there are none."""
    parts = []
    for comparison, points in groups:
        charts = drawn("the points", lambda points=points: page.joined([page.grid(cost_charts(points)), table(points)]))
        parts += [page.heading(comparison.title), charts]
    return Section("costs", "Accuracy against cost", page.joined(parts), LEAD) if parts else None


def points_of(comparison: Comparison, records: Records) -> Points:
    """The points of a comparison of which the accuracy is known."""
    points = gather_points(
        (setting.label, records.rows(run, layout.POINTS))
        for setting in comparison.settings
        for run in setting.runs.values()
    )
    return {key: numbers for key, numbers in points.items() if "accuracy" in numbers}


def cost_charts(points: Points) -> list[page.Markup]:
    """A chart for each cost, of the points that have it."""
    names = list(dict.fromkeys(setting for setting, _, _ in points))
    few = {key: numbers for key, numbers in points.items() if key[0] in names[:SETTINGS]}
    more = f" (the first {SETTINGS} of {len(names)} settings)" if len(names) > SETTINGS else ""
    figures = []
    for cost, title in POINT_COSTS.items():
        if not (measured := {key: numbers for key, numbers in few.items() if cost in numbers}):
            continue
        series = [point_series(name, n, cost, measured) for n, name in enumerate(names[:SETTINGS])]
        chart = svg_charts.chart([*series, front(measured, cost)], title, "accuracy", within=(0, 1), costs=True)
        figures.append(page.figure(chart, f"accuracy against {title}{more}"))
    return figures


def point_series(name: str, colour: int, cost: str, points: Points) -> Series:
    """The points of one setting."""
    own = {key: numbers for key, numbers in points.items() if key[0] == name}
    costs, gains = [numbers[cost] for numbers in own.values()], [numbers["accuracy"] for numbers in own.values()]
    notes = [f"{name}, {key[2]}: {cell_text(g)} at {cell_text(c)}" for key, c, g in zip(own, costs, gains, strict=True)]
    return Series(
        name, [c.mean for c in costs], [g.mean for g in gains], [g.half for g in gains], [c.half for c in costs],
        notes, [key[2] for key in own] if len(points) <= LABELS_UP_TO else (),
        joined=False, diamond=True, colour=colour,
    )  # fmt: skip


def front(points: Points, cost: str) -> Series:
    """The Pareto front of the means."""
    x = np.array([numbers[cost].mean for numbers in points.values()])
    y = np.array([numbers["accuracy"].mean for numbers in points.values()])
    best = pareto_front(x, y)
    line = Series("Pareto front", x[best].tolist(), y[best].tolist(), steps=True, dots=False, colour=FRONT)
    line.listed = len(best) > 1
    return line


def table(points: Points) -> page.Markup:
    """All points."""
    columns = [Column("setting", choice=True), Column("step", number=True), Column("stage")]
    columns += [Column(name.replace("_", " "), number=True) for name in POINT_NUMBERS]
    rows = []
    for (setting, step, stage), numbers in points.items():
        cells = [
            Cell(cell_text(numbers[name]), numbers[name].mean) if name in numbers else None for name in POINT_NUMBERS
        ]
        rows.append([setting, int(step) if step.isdecimal() and len(step) < DIGITS else step, stage, *cells])
    return page.folded(f"all {len(rows)} points", page.table(columns, rows))


def sheets(groups: list[tuple[Comparison, Points]]) -> tuple[list[str], list[list[object]], list[Sheet]]:
    """points: every number of every point in the csv, and the same for people."""
    rows, tables = [], []
    for comparison, points in groups:
        for key, numbers in points.items():
            rows += [[comparison.title, *key, name, one.mean, one.half, one.count] for name, one in numbers.items()]
        lines = [[setting, stage, *map(numbers.get, POINT_NUMBERS)] for (setting, _, stage), numbers in points.items()]
        tables.append(Sheet(comparison.title, ["setting", "stage", *POINT_NUMBERS], lines))
    return ["comparison", "setting", "step", "stage", "metric", "mean", "half_interval", "runs"], rows, tables
