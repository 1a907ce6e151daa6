"""The part of the report on streams of tasks: accuracies over time, models in service, and the matrices R."""

from collections.abc import Callable, Sequence
from functools import partial
from statistics import fmean

from markupsafe import Markup

from mlbench.core.statistics import spread
from mlbench.reporting.html import page, svg_charts
from mlbench.reporting.html.page import Section
from mlbench.reporting.html.svg_charts import Series
from mlbench.reporting.over_time import OVER_TIME
from mlbench.reporting.report.drawing import drawn
from mlbench.reporting.report.grouping import Comparison, Setting
from mlbench.reporting.report.run_records import Records
from mlbench.runs import layout
from mlbench.runs.run_record import number

LINES = 10  # in one chart
MATRICES = 12  # of one comparison
MATRICES_OPEN = 6  # more are folded
CELLS = 30_000  # of all matrices of the page
LEAD = (
    "Mean over seeds, bands are 95 % intervals. In a matrix R the row is the number of tasks learned, the column the "
    "task tested, the number its accuracy in per cent; pale numbers are of tasks still to come."
)
SERVICE = {
    "online_accuracy": "accuracy before the update",
    "round_accuracy": "accuracy after the update",
    "original_accuracy": "accuracy on the original data",
}
Rows = dict[int, list[float]]  # tasks learned -> accuracies
Points = dict[float, list[float]]  # x -> a value for each seed


def section(comparisons: list[Comparison], records: Records) -> Section | None:
    """Curves and matrices of the lifelong comparisons; None where there are none."""
    parts, left = [], CELLS
    for comparison in comparisons:
        settings = [
            (one, [m for run in one.runs.values() if (m := records.matrix(run))]) for one in comparison.settings
        ]
        settings = [(one, matrices) for one, matrices in settings if matrices]
        if settings:
            parts.append(page.heading(comparison.title))
            parts.append(drawn("accuracies over time", partial(over_time, comparison, settings, records)))
            shown = room(settings, left)
            left -= sum(size for _, _, size in shown)
            parts.append(drawn("matrices", partial(heat_maps, shown, len(settings))))
    return Section("tasks", "Accuracy by task", page.joined(parts), LEAD) if parts else None


def over_time(comparison: Comparison, settings: list[tuple[Setting, list[Rows]]], records: Records) -> Markup:
    """Curves of the first settings of a comparison."""
    few, figures = settings[:LINES], []
    if comparison.kind:
        rounds = {one.label: [records.rows(run, layout.ROUNDS) for run in one.runs.values()] for one, _ in few}
        for name, title in SERVICE.items():
            lines = [line(label, round_points(tables, name), n) for n, (label, tables) in enumerate(rounds.items())]
            figures.append((lines, "round", title))
    else:
        for title, value in OVER_TIME.values():
            lines = [line(one.label, accuracy_points(matrices, value), n) for n, (one, matrices) in enumerate(few)]
            figures.append((lines, "tasks learned", title))
    more = f"the first {LINES} of {len(settings)} settings" if len(settings) > LINES else ""
    return page.grid(
        page.figure(svg_charts.chart(lines, x, "accuracy", whole=True, within=(0, 1)), caption(title, more))
        for lines, x, title in figures
        if any(len(one.x) for one in lines)
    )


def caption(title: str, more: str) -> str:
    """A title with what has to be said to it."""
    return f"{title} ({more})" if more else title


def accuracy_points(matrices: list[Rows], value: Callable[[int, Sequence[float]], float]) -> Points:
    """A value of each row of R from the first task on, for each seed."""
    learned = sorted({learned for rows in matrices for learned in rows if learned > 0})
    return {i: [value(i, rows[i]) for rows in matrices if i in rows] for i in learned}


def round_points(tables: list[list[dict[str, str]]], name: str) -> Points:
    """A column of rounds.csv, for each seed."""
    points: Points = {}
    for table in tables:
        for row in table:
            here, value = number(row, "round"), number(row, name)
            if here is not None and value is not None:
                points.setdefault(here, []).append(value)
    return points


def line(label: str, points: Points, colour: int) -> Series:
    """Means with a band; what was measured only at the end is a dashed line from side to side."""
    spreads = [spread(values) for values in points.values()]
    means, halves = [one.mean for one in spreads], [one.half for one in spreads]
    if len(points) == 1 and max(points) > 1:
        return Series(label, [1, *points], means * 2, halves * 2, dashed=True, dots=False, colour=colour)
    notes = [f"{label}: {one} at {x:g}" for x, one in zip(points, spreads, strict=True)]
    return Series(label, list(points), means, halves, notes=notes, colour=colour)


def room(settings: list[tuple[Setting, list[Rows]]], left: int) -> list[tuple[str, Rows, int]]:
    """Label, mean matrix R and its number of cells for each setting, as many as are to be drawn in `left` cells."""
    shown = []
    for setting, matrices in settings[:MATRICES]:
        rows = mean_matrix(matrices)
        size = sum(map(len, rows.values()))
        if len(rows) >= 2 and size <= left:
            left -= size
            label = f"{setting.label}, mean of {len(matrices)} runs" if len(matrices) > 1 else setting.label
            shown.append((label, rows, size))
    return shown


def heat_maps(shown: list[tuple[str, Rows, int]], settings: int) -> Markup:
    """The matrices that `room` has chosen of so many settings."""
    if not shown:
        return Markup("")
    figures = [
        page.figure(svg_charts.matrix(rows, f"accuracy after each task, {label}"), label) for label, rows, _ in shown
    ]
    title = f"R of {len(figures)} settings" if len(figures) > 1 else f"R of {shown[0][0]}"
    if len(figures) < settings:
        title += f" (of {settings})"
    return page.folded(title, page.grid(figures), len(figures) <= MATRICES_OPEN)


def mean_matrix(matrices: list[Rows]) -> Rows:
    """The mean over seeds of the rows that all of them have, as long as the shortest."""
    common = sorted(set.intersection(*(set(rows) for rows in matrices)))
    return {i: [fmean(own) for own in zip(*(rows[i] for rows in matrices), strict=False)] for i in common}
