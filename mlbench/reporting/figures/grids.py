"""Figures made of pictures and maps; no torch, no global state."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from mlbench.reporting.figures.canvas import canvas, save
from mlbench.reporting.figures.lettering import drawable
from mlbench.runs.results import Panel, Row

PANEL = 1.15  # inches a side
GAP = 0.05  # inches around it
TITLE, CAPTION = 0.22, 0.13  # inches of the line above a row, and of one above a panel
WIDTH = 4.5  # inches, at least, for the titles
OPACITY = 0.85  # of a map over a picture, where it is strongest
DIMMED = 0.5  # the picture under a map
NAMED = 0.17  # inches a class, where a map has names at its sides
LETTER = 0.06  # inches of a letter in it
NAMES_UP_TO = 40  # classes; more could not be read


def draw_grid(rows: list[Row], path: Path, upwards: bool = False) -> None:
    """One strip for each (title, panels); `upwards`: the first row of pixels is the lowest, as of a spectrogram.

    A map of numbers between classes has no pixels and is never turned. The others share one pair of axes, in inches:
    with a pair for each, a hundred rows would take minutes to lay out.
    """
    every = [panel for _, panels in rows for panel in panels]
    columns = max(len(panels) for _, panels in rows)
    lines = max(panel.caption.count("\n") + 1 if panel.caption else 0 for panel in every)
    side = max(PANEL, *(room(names(panel)) + NAMED * len(names(panel)) for panel in every))
    strip = TITLE + CAPTION * lines + side
    width, height = max(WIDTH, side * columns), strip * len(rows)
    figure = canvas(width, height, (0, 0, 0, 0))
    axes = figure.subplots()
    axes.axis("off")
    for place, (title, panels) in enumerate(rows):
        bottom = (place + 1) * strip
        axes.text(0.02 * width, bottom - strip + TITLE / 2, title, fontsize=8, ha="left", va="center")
        for column, panel in enumerate(panels):
            left = (column + 0.5) * width / columns - side / 2
            axes.text(left + side / 2, bottom - side, panel.caption, fontsize=7, ha="center", va="bottom")
            if named := names(panel):
                own = figure.add_axes(place_of(left, height - bottom, side, room(named), width, height))
                draw_named(own, panel.map, named)
            else:
                draw_panel(axes, panel, (left + GAP, bottom - GAP, side - 2 * GAP), upwards and panel.classes is None)
    axes.set(xlim=(0, width), ylim=(height, 0), aspect="auto")
    save(figure, path)


def names(panel: Panel) -> list[str]:
    """What stands at the sides of its map."""
    few = panel.classes is not None and len(panel.classes) <= NAMES_UP_TO
    return drawable(panel.classes, "class") if few else []


def room(named: list[str]) -> float:
    """The inches that these names take beside a map."""
    return LETTER * max(map(len, named)) + 0.15 if named else 0.0


def draw_panel(axes: Axes, panel: Panel, place: tuple[float, float, float], upwards: bool) -> None:
    """One picture, map, or map over a picture, in the middle of a square: its left, its bottom and its side."""
    if panel.picture is None and panel.map is None:
        return  # left free
    left, bottom, side = place
    rows, columns = panel.map.shape if panel.picture is None else panel.picture.shape[1:]
    width, height = side * columns / max(rows, columns), side * rows / max(rows, columns)
    left, low = left + (side - width) / 2, bottom - (side - height) / 2
    high = low - height
    area = (left, left + width, *((high, low) if upwards else (low, high)))
    if panel.picture is not None:
        shown = panel.picture[0] if len(panel.picture) == 1 else panel.picture.transpose(1, 2, 0)
        if panel.map is not None:
            shown = (255 * (1 - DIMMED) + DIMMED * shown).astype(np.uint8)
        axes.imshow(shown, cmap="gray", vmin=0, vmax=255, extent=area)
    if panel.map is not None:
        alpha = OPACITY * abs(panel.map) / limit(panel.map) if panel.picture is not None else None
        draw_map(axes, panel.map, alpha=alpha, extent=area)


def draw_named(axes: Axes, values: np.ndarray, named: list[str]) -> None:
    """A map between classes, with their names at its sides."""
    draw_map(axes, values)
    axes.set_xticks(range(len(named)), named, rotation=90 if max(map(len, named)) > 2 else 0, fontsize=7)
    axes.set_yticks(range(len(named)), named, fontsize=7)


def draw_map(axes: Axes, values: np.ndarray, **style: Any) -> None:
    """Signed numbers, on a scale symmetric about 0."""
    axes.imshow(values, cmap="RdBu_r", vmin=-limit(values), vmax=limit(values), **style)


def limit(values: np.ndarray) -> float:
    """The largest size of the numbers of a map."""
    return float(abs(values).max()) or 1.0


def place_of(left: float, bottom: float, side: float, room: float, width: float, height: float) -> tuple:
    """Where axes with names at their left and below stand in a figure, in shares of it."""
    inner = side - room - GAP
    return (left + room) / width, (bottom + room) / height, inner / width, inner / height
