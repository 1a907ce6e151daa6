"""Figures of a classifier, from its tables: the confusion matrix and the reliability of its confidence."""

from pathlib import Path

import numpy as np

from mlbench.core.csv_files import read_rows
from mlbench.reporting.figures.canvas import canvas, save
from mlbench.reporting.figures.lettering import drawable

NUMBERS_UP_TO = 20  # classes whose cells still have room for a number
NAMES_UP_TO = 60  # classes whose names still have room


def draw_confusion(table: Path, path: Path) -> None:
    """Draw the share of each class (rows) that got each answer (columns), from confusion.csv."""
    rows = read_rows(table)
    names = drawable([row["class"] for row in rows], "class")
    counts = np.array([[int(cell) for cell in list(row.values())[1:]] for row in rows])
    shares = counts / counts.sum(1, keepdims=True).clip(min=1)
    side = min(3 + 0.28 * len(names) + 0.06 * max(map(len, names)), 12)
    figure = canvas(side + 0.8, side)
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="answer", ylabel="true class", title="confusion matrix")
    if len(names) <= NAMES_UP_TO:
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
        axes.set_yticks(range(len(names)), names, fontsize=8)
    if len(names) <= NUMBERS_UP_TO:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                colour = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, str(count), ha="center", va="center", fontsize=7, color=colour)
    figure.colorbar(image, label="share of the class", shrink=0.8)
    save(figure, path)


def draw_reliability(table: Path, path: Path) -> None:
    """Draw accuracy over confidence, with the share of examples at each, from reliability.csv."""
    rows = [{name: float(cell) for name, cell in row.items()} for row in read_rows(table)]
    low, high, count, confidence, accuracy = (
        np.array([row[name] for row in rows]) for name in ("low", "high", "examples", "confidence", "accuracy")
    )
    error = float((count * np.abs(accuracy - confidence)).sum() / count.sum())
    figure = canvas(4.6, 5.2)
    above, below = figure.subplots(2, 1, height_ratios=[3, 1], sharex=True)
    above.bar(low, accuracy, high - low, align="edge", color="C0", edgecolor="white", label="accuracy")
    above.plot(confidence, accuracy, "o", color="black", markersize=3, label="at the mean confidence")
    above.plot([0, 1], [0, 1], "--", color="0.4", label="calibrated")
    above.set(ylabel="accuracy", ylim=(0, 1), title=f"expected calibration error {error:.3f}")
    above.legend(fontsize=8, loc="upper left")
    below.bar(low, count / count.sum(), high - low, align="edge", color="0.6", edgecolor="white")
    below.set(xlabel="confidence", ylabel="share", xlim=(0, 1))
    save(figure, path)
