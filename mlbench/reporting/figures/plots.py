"""Figures of one run, from its tables: losses, networks against what they cost, and any column over another."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from mlbench.core.atomic_io import read_rows
from mlbench.core.pareto import pareto_front
from mlbench.reporting.figures.canvas import canvas, save
from mlbench.runs.point_columns import POINT_COSTS

LABELS_UP_TO = 12  # points that still have room for their names


def draw_losses(losses: list[float], path: Path) -> None:
    """The training loss, epoch by epoch."""
    figure = canvas(5.5, 3.6)
    axes = figure.subplots()
    axes.plot(range(1, len(losses) + 1), losses, marker="o" if len(losses) < 40 else None)
    axes.set(xlabel="epoch", ylabel="loss", title="training loss", ylim=(0, None))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    save(figure, path)


def draw_points(table: Path, folder: Path) -> None:
    """Accuracy against bytes, multiply-adds and latency, each with its Pareto front, from points.csv."""
    rows = read_rows(table)
    accuracy = np.array([float(row["accuracy"]) for row in rows])
    for name, label in POINT_COSTS.items():
        cost = np.array([float(row[name]) for row in rows])
        figure = canvas(6, 4)
        axes = figure.subplots()
        front = pareto_front(cost, accuracy)
        axes.step(cost[front], accuracy[front], where="post", color="0.7", label="Pareto front", zorder=1)
        axes.scatter(cost[1:], accuracy[1:], color="C0", label="compressed", zorder=2)
        axes.scatter(cost[:1], accuracy[:1], color="C3", marker="D", label="dense", zorder=2)
        if len(rows) <= LABELS_UP_TO:
            for row, x, y in zip(rows[1:], cost[1:], accuracy[1:], strict=True):
                axes.annotate(row["stage"], (x, y), xytext=(4, -9), textcoords="offset points", fontsize=7)
        axes.margins(x=0.12)  # for the names of the points
        scale_to_costs(axes, cost.tolist())
        axes.set(xlabel=label, ylabel="accuracy")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
        save(figure, folder / f"accuracy_{name}.png")


def scale_to_costs(axes: Axes, costs: list[float]) -> None:
    """A logarithmic x axis where these are far apart."""
    if min(costs) > 0 and max(costs) > 4 * min(costs):
        axes.set_xscale("log")


def draw_chart(table: Path, axes_of: tuple[str, str], by: str | None, path: Path, log: bool, joined: bool) -> None:
    """From a table one column over another, `axes_of` (x, y), a series for each value of the column `by`.

    Rows where either is empty are left out. `joined` points have lines between them, others their series' name.
    """
    rows, (x, y) = read_rows(table), axes_of
    series: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        if row[x] and row[y]:
            series.setdefault(row[by] if by else "", []).append((float(row[x]), float(row[y])))
    figure = canvas(6.4, 4.2)
    axes = figure.subplots()
    for name, points in series.items():
        axes.plot(*zip(*points, strict=True), "-" if joined else "", marker=".", label=name.replace("_", " "))
    if log:
        axes.set_xscale("log")
    axes.set(xlabel=x.replace("_", " "), ylabel=y.replace("_", " "))
    axes.grid(alpha=0.3)
    if len(series) > 1:
        axes.legend(fontsize=8)
    save(figure, path)
