"""Figures of one run, from its tables: losses, networks against what they cost, and any column over another."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from mlbench.core.csv_files import read_rows
from mlbench.core.pareto import pareto_front
from mlbench.reporting.figures.canvas import canvas, save
from mlbench.reporting.points import LABELS_UP_TO
from mlbench.runs.point_columns import POINT_COSTS

NAMES_UP_TO = 40  # series whose names still have room


@dataclass
class LearningCurve:
    """What was measured at the end of each epoch of a fit; validation lists are empty where there was no such data."""

    losses: list[float]
    validation_losses: list[float] = field(default_factory=list)
    validation_accuracies: list[float] = field(default_factory=list)
    kept_epoch: int | None = None  # whose weights early stopping kept


def draw_learning_curve(curve: LearningCurve, path: Path) -> None:
    """The losses epoch by epoch, and beside them the accuracy on validation data where there are some."""
    both = bool(curve.validation_accuracies)
    figure = canvas(9 if both else 5, 3.4, (0.75, 0.15, 0.5, 0.35))
    axes, *others = np.atleast_1d(figure.subplots(1, 1 + both, gridspec_kw={"wspace": 0.3}))
    series = [(axes, curve.losses, "training", "C0"), (axes, curve.validation_losses, "validation", "C1")]
    series += [(other, curve.validation_accuracies, "validation", "C1") for other in others]
    for panel, values, label, colour in (each for each in series if each[1]):
        panel.plot(range(1, len(values) + 1), values, marker="o" if len(values) < 40 else None, label=label, c=colour)
    axes.set(ylabel="loss", title="loss", ylim=(0, None))
    for other in others:
        other.set(ylabel="accuracy", title="accuracy on validation data")
    for panel in (axes, *others):
        if curve.kept_epoch is not None:
            panel.axvline(curve.kept_epoch, color="0.4", linestyle=":", label=f"kept: epoch {curve.kept_epoch}")
        panel.set(xlabel="epoch", xlim=(0.5, len(curve.losses) + 0.5))
        panel.xaxis.set_major_locator(MaxNLocator(7, integer=True))
        panel.yaxis.set_major_locator(MaxNLocator(5))
        panel.grid(alpha=0.3)
        if curve.validation_losses:
            panel.legend(fontsize=8)
    save(figure, path)


def draw_points(table: Path, folder: Path) -> None:
    """Accuracy against bytes, multiply-adds and latency, each with its Pareto front, from points.csv.

    A cost that is not known of every point has no figure.
    """
    rows = read_rows(table)
    accuracy = np.array([float(row["accuracy"]) for row in rows])
    for name, label in POINT_COSTS.items():
        if not all(row[name] for row in rows):
            continue
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
    if 1 < len(series) <= NAMES_UP_TO:
        axes.legend(fontsize=8)
    save(figure, path)
