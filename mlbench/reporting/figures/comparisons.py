"""Figures over several runs, from their tables and from their spreads; no torch, no global state."""

import textwrap
from pathlib import Path

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, NullLocator

from mlbench.core.csv_files import read_rows
from mlbench.core.statistics import Spread
from mlbench.reporting.figures.canvas import canvas, save
from mlbench.reporting.figures.lettering import legend_name
from mlbench.reporting.figures.plots import scale_to_costs
from mlbench.reporting.over_time import OVER_TIME
from mlbench.reporting.points import LABELS_UP_TO
from mlbench.runs.point_columns import POINT_COSTS

SOLID = 10  # curves that differ by colour alone; later ones have other dashes, too
DASHES = ("-", (0, (4, 1.5)), (0, (1, 1)), "-.")
NAME_WIDTH = 40
NAMES_UP_TO = 60  # settings whose names still have room; the table beside the figure has all of them
DECADES = 100  # settings whose largest value is so many times the smallest are drawn on a logarithmic axis


def draw_bars(groups: list[tuple[str, Spread]], metric: str, path: Path) -> None:
    """One bar with its interval for each (name, spread) of one metric."""
    named = len(groups) <= NAMES_UP_TO
    crowded = named and any(len(name) > 10 for name, _ in groups)
    figure = canvas(1.8 + 1.1 * min(max(len(groups), 3), NAMES_UP_TO), 5.6 if crowded else 3.8)
    axes = figure.subplots()
    for place, (_, value) in enumerate(groups):
        axes.bar(place, value.mean, yerr=value.half, capsize=5, color=f"C{place % 10}", width=0.65)
        if named:
            top = (place, value.mean + (value.half or 0))
            axes.annotate(f"{value.mean:.3f}", top, xytext=(0, 4), textcoords="offset points", ha="center", fontsize=9)
    if named:
        names = [short(name) for name, _ in groups]
        axes.set_xticks(range(len(groups)), names, rotation=40 if crowded else 0, ha="right" if crowded else "center")
    axes.set(ylabel=metric.replace("_", " "), title="mean and 95 % interval over seeds")
    axes.margins(y=0.12)
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    save(figure, path)


def draw_curves(table: Path, path: Path, ordered: bool) -> None:
    """From comparison.csv two panels of accuracies against the tasks learned, a line and a band for each setting.

    Settings measured only at the end are dashed horizontal lines. `ordered` settings (of one number) get colours in
    order, from dark to light; others get colours that are easy to tell apart.
    """
    rows = read_rows(table)
    names = list(dict.fromkeys(row["setting"] for row in rows))
    named = len(names) <= NAMES_UP_TO
    figure = canvas(12.5 if named and max(map(len, names)) > 16 else 11, max(4.2, 1 + 0.24 * len(names) * named))
    panels = figure.subplots(1, len(OVER_TIME), sharey=True)
    for axes, (metric, (title, _)) in zip(panels, OVER_TIME.items(), strict=True):
        for place, name in enumerate(names):
            own = [row for row in rows if (row["setting"], row["metric"]) == (name, metric)]
            style = ordered_style(place, len(names)) if ordered else distinct_style(place)
            draw_curve(axes, own, style, short(name))
        axes.set(xlabel="tasks learned", title=title)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("accuracy")
    within_shares(panels[0])
    if named:
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", fontsize=8, frameon=False)
    save(figure, path)


def draw_curve(axes: Axes, rows: list[dict[str, str]], style: dict[str, object], label: str) -> None:
    """One setting's line and its band; a horizontal line where there is a single row."""
    means = [float(row["mean"]) for row in rows]
    halves = [float(row["half_interval"] or 0) for row in rows]
    if len(rows) == 1:
        draw_level(axes, means[0], halves[0], label)
        return
    learned = [int(row["tasks_learned"]) for row in rows]
    axes.plot(learned, means, label=legend_name(label), **style)
    pairs = list(zip(means, halves, strict=True))
    lower, upper = [mean - half for mean, half in pairs], [mean + half for mean, half in pairs]
    axes.fill_between(learned, lower, upper, color=style["color"], alpha=0.13, linewidth=0)


def draw_level(axes: Axes, mean: float, half: float, label: str) -> None:
    """A dashed horizontal line and its band."""
    axes.axhline(mean, color="black", linestyle=(0, (6, 3)), linewidth=1.2, label=legend_name(label))
    axes.axhspan(mean - half, mean + half, color="black", alpha=0.07, linewidth=0)


def distinct_style(place: int) -> dict[str, object]:
    """Colour and dashes of the curve at `place` (from 0), unlike those of the others."""
    dashes = DASHES[place // SOLID % len(DASHES)]
    return {"color": f"C{place % SOLID}", "linestyle": dashes, "linewidth": 1.5, "marker": ".", "markersize": 5}


def ordered_style(place: int, count: int) -> dict[str, object]:
    """Colour of the curve at `place` (from 0) of `count` that have an order."""
    colour = colormaps["viridis"](0.9 * place / max(1, count - 1))
    return {"color": colour, "linestyle": "-", "linewidth": 1.5, "marker": ".", "markersize": 5}


def draw_points(table: Path, cost: str, path: Path) -> Path:
    """From a sweep's points.csv the accuracy of each point against a cost, with intervals over seeds; returns `path`.

    A colour for each setting. The dense network, the first point of each, is a diamond.
    """
    points: dict[tuple[str, str, str], dict[str, dict[str, str]]] = {}
    for row in read_rows(table):
        points.setdefault((row["setting"], row["step"], row["stage"]), {})[row["metric"]] = row
    points = {key: numbers for key, numbers in points.items() if {"accuracy", cost} <= numbers.keys()}
    settings = list(dict.fromkeys(setting for setting, _, _ in points))
    figure = canvas(7, 4.6)
    axes = figure.subplots()
    for (setting, step, stage), numbers in points.items():
        x, y = numbers[cost], numbers["accuracy"]
        here = float(x["mean"]), float(y["mean"])
        halves = float(x["half_interval"] or 0), float(y["half_interval"] or 0)
        style = {"color": f"C{settings.index(setting) % SOLID}", "label": short(setting) if step == "0" else None}
        axes.errorbar(*here, xerr=halves[0], yerr=halves[1], fmt="D" if step == "0" else "o", capsize=2, **style)
        if len(points) <= LABELS_UP_TO:
            axes.annotate(stage, here, xytext=(4, -9), textcoords="offset points", fontsize=7)
    axes.margins(x=0.12)  # for the names of the points
    scale_to_costs(axes, [float(numbers[cost]["mean"]) for numbers in points.values()])
    axes.set(xlabel=POINT_COSTS[cost], ylabel="accuracy", title="mean and 95 % interval over seeds")
    within_shares(axes)
    axes.grid(alpha=0.3)
    if 1 < len(settings) <= NAMES_UP_TO:
        axes.legend(fontsize=8)
    save(figure, path)
    return path


def draw_over_setting(
    setting: str, points: list[tuple[float, dict[str, Spread]]], groups: list[list[str]], path: Path, measured: str = ""
) -> None:
    """Metrics against a number that was set, one panel for each group of them, with intervals over seeds.

    What the setting does not touch (joint training) is a dashed horizontal line. Where the lines are techniques, all
    `measured` by one metric, that is the name of the y axis.
    """
    figure = canvas(5.2 * len(groups), 4)
    values = [value for value, _ in points]
    for axes, metrics in zip(figure.subplots(1, len(groups), squeeze=False)[0], groups, strict=True):
        levels = []
        for place, metric in enumerate(metrics):
            own = [(value, spreads[metric]) for value, spreads in points if metric in spreads]
            heights, halves = [s.mean for _, s in own], [s.half or 0 for _, s in own]
            label = metric.replace("_", " ")
            if len(set(heights)) == 1:
                levels.append((heights[0], halves[0], label))
                continue
            places, colour = [value for value, _ in own], f"C{place}"
            axes.errorbar(places, heights, yerr=halves, marker="o", capsize=3, label=legend_name(label), color=colour)
        axes.update_datalim([(value, 0) for value in values], updatey=False)  # levels alone have no place on it
        scale_to(axes, values)
        axes.autoscale_view(scaley=False)
        axes.set_xlim(axes.get_xlim())  # which a level, reaching from side to side, would stretch
        for level in levels:
            draw_level(axes, *level)
        if all("accuracy" in (measured or metric) for metric in metrics):
            within_shares(axes)
        axes.set(xlabel=setting, ylabel=measured.replace("_", " "))
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    figure.suptitle("mean and 95 % interval over seeds", fontsize=11)
    save(figure, path)


def within_shares(axes: Axes) -> None:
    """The y axis for numbers between 0 and 1, whose intervals may reach beyond."""
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, -0.02), min(high, 1.02))


def scale_to(axes: Axes, values: list[float]) -> None:
    """The x axis for these values: logarithmic where they span decades, linear near 0 when that is among them."""
    positive = [value for value in values if value > 0]
    if min(values) < 0 or not positive or max(positive) < DECADES * min(positive):
        return
    if len(positive) < len(values):
        axes.set_xscale("symlog", linthresh=min(positive), linscale=0.5)
    else:
        axes.set_xscale("log")
    axes.set_xticks(values, [f"{value:g}" for value in values])
    axes.xaxis.set_minor_locator(NullLocator())


def draw_trade_off(
    setting: str, points: list[tuple[float, dict[str, Spread]]], metrics: tuple[str, str], path: Path
) -> None:
    """The second metric against the first, a point for each value of the setting, joined in the order of the values."""
    x, y = metrics
    figure = canvas(5.6, 4.6)
    axes = figure.subplots()
    axes.plot(
        [spreads[x].mean for _, spreads in points], [spreads[y].mean for _, spreads in points], color="0.7", zorder=1
    )
    for place, (value, spreads) in enumerate(points):
        here = spreads[x].mean, spreads[y].mean
        colour = ordered_style(place, len(points))["color"]
        axes.errorbar(*here, xerr=spreads[x].half, yerr=spreads[y].half, fmt="none", color=colour, alpha=0.35)
        axes.plot(*here, "o", color=colour)
        aside, side = ((-6, -12), "right") if place % 2 else ((6, 5), "left")  # neighbours may lie close together
        axes.annotate(f"{value:g}", here, xytext=aside, textcoords="offset points", ha=side, fontsize=9)
    axes.set(xlabel=x.replace("_", " "), ylabel=y.replace("_", " "), title=f"at each {setting}")
    axes.margins(0.1)
    axes.grid(alpha=0.3)
    save(figure, path)


def short(name: str) -> str:
    """A setting's name with room for it."""
    return textwrap.shorten(name, NAME_WIDTH, placeholder="...")
