"""Figures of a classifier, from its tables: the confusion matrix and the reliability of its confidence."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from mlbench.core.csv_files import read_rows
from mlbench.reporting.figures.canvas import canvas, save, text_width
from mlbench.reporting.figures.lettering import drawable

NUMBERS_UP_TO = 20  # classes whose cells still have room for a number
NAMES_UP_TO = 60  # classes whose names still have room
NAME_SIZE = 8  # points


def draw_confusion(table: Path, path: Path) -> None:
    """Draw the share of each class (rows) that got each answer (columns), from confusion.csv."""
    rows = read_rows(table)
    names = drawable([row["class"] for row in rows], "class")
    counts = np.array([[int(cell) for cell in list(row.values())[1:]] for row in rows])
    shares = counts / counts.sum(1, keepdims=True).clip(min=1)
    figure, axes = matrix_axes(names)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="answer", ylabel="true class", title="confusion matrix")
    if len(names) <= NAMES_UP_TO:
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=NAME_SIZE)
        axes.set_yticks(range(len(names)), names, fontsize=NAME_SIZE)
    if len(names) <= NUMBERS_UP_TO:
        font = FontProperties(size=7)
        for row, column in zip(*counts.nonzero(), strict=True):
            place, colour = {"ha": "center", "va": "center"}, "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(counts[row, column]), place, color=colour, fontproperties=font)
    else:
        figure.colorbar(image, label="share of the class", shrink=0.8)
    save(figure, path)


def matrix_axes(names: Sequence[str]) -> tuple[Figure, Axes]:
    """Axes for a matrix over classes; where cells have numbers their colours need no bar, and its place is known."""
    if len(names) > NUMBERS_UP_TO:
        side = min(3 + 0.28 * len(names) + 0.06 * max(map(len, names)), 12)
        figure = canvas(side + 0.8, side)
    else:
        side, room = max(0.3 * len(names), 1.8), text_width(names, NAME_SIZE) + 0.4
        figure = canvas(side + room + 0.2, side + room + 0.4, (room, 0.2, room, 0.4))
    return figure, figure.subplots()


def draw_reliability(table: Path, path: Path) -> None:
    """Draw accuracy over confidence, and the share of examples at each confidence, from reliability.csv."""
    rows = [{name: float(cell) for name, cell in row.items()} for row in read_rows(table)]
    low, high, count, confidence, accuracy = (
        np.array([row[name] for row in rows]) for name in ("low", "high", "examples", "confidence", "accuracy")
    )
    error = float((count * np.abs(accuracy - confidence)).sum() / count.sum())
    edges = np.unique([low, high])  # a bin without examples has no row
    bars = np.full((2, len(edges) - 1), np.nan)
    bars[:, np.searchsorted(edges, low)] = accuracy, count / count.sum()
    figure = canvas(4.2, 4, (0.65, 0.15, 0.5, 0.35))
    axes = figure.subplots()
    axes.stairs(bars[0], edges, fill=True, color="C0", label="accuracy")
    axes.stairs(bars[1], edges, fill=True, color="0.6", alpha=0.8, label="share of the examples")
    axes.plot(confidence, accuracy, "o", color="black", markersize=3, label="at the mean confidence")
    axes.plot([0, 1], [0, 1], "--", color="0.4", label="calibrated")
    axes.set(xlabel="confidence", ylabel="accuracy, share", xlim=(0, 1), ylim=(0, 1))
    axes.set(xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
    axes.set_title(f"expected calibration error {error:.3f}")
    axes.legend(fontsize=8, loc="upper left")
    save(figure, path)
