"""Figures of points coloured by what they are; no torch."""

from pathlib import Path

import numpy as np
from matplotlib import colormaps

from mlbench.reporting.figures.canvas import canvas, save
from mlbench.reporting.figures.lettering import drawable, legend_name
from mlbench.runs.results import Cloud

SIDE = 2.3  # inches of a panel
NAMED_UP_TO = 20  # colours that have a name; the rarest values share grey
GREY = "0.8"


def draw_clouds(rows: list[list[Cloud]], path: Path) -> None:
    """A row of panels for each list; the same value has the same colour everywhere."""
    columns = max(len(row) for row in rows)
    figure = canvas(SIDE * columns + 1.6, (SIDE + 0.3) * len(rows))
    panels = figure.subplots(len(rows), columns, squeeze=False)
    first = rows[0][0]
    counts = np.bincount(first.labels, minlength=len(first.names))
    named = [int(value) for value in np.argsort(-counts, kind="stable")[:NAMED_UP_TO] if counts[value]]
    colours = {value: colormaps["tab20"](place) for place, value in enumerate(sorted(named))}
    for axes in panels.flat:
        axes.axis("off")
    for row, places in zip(rows, panels, strict=True):
        for cloud, axes in zip(row, places, strict=False):
            axes.set_title(cloud.title, fontsize=8)
            shades = [colours.get(int(value), GREY) for value in cloud.labels]
            axes.scatter(*cloud.points.T, s=5, c=shades, linewidths=0)
    dots = [panels[0, 0].scatter([], [], s=14, color=colour) for colour in colours.values()]
    named_as = drawable(first.names, "class")
    labels = [legend_name(named_as[value]) for value in colours]
    if len(named) < np.count_nonzero(counts):
        dots.append(panels[0, 0].scatter([], [], s=14, color=GREY))
        labels.append("others")
    figure.legend(dots, labels, fontsize=7, loc="outside right center", frameon=False)
    save(figure, path)
