"""Figures made of pictures and maps; no torch, no global state."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from mlbench.reporting.figures.canvas import canvas, save
from mlbench.reporting.figures.lettering import drawable
from mlbench.runs.results import Panel, Row

PANEL = 1.15  # inches a side
OPACITY = 0.85  # of a map over a picture, where it is strongest
DIMMED = 0.5  # the picture under a map
NAMED = 0.17  # inches a class, where a map has names at its sides
LETTER = 0.06  # inches of a letter in it
NAMES_UP_TO = 40  # classes; more could not be read


def draw_grid(rows: list[Row], path: Path, upwards: bool = False) -> None:
    """One strip for each (title, panels); `upwards`: the first row of pixels is the lowest, as of a spectrogram.

    A map of numbers between classes has no pixels and is never turned.
    """
    columns = max(len(panels) for _, panels in rows)
    captions = any(panel.caption for _, panels in rows for panel in panels)
    sided = [named for _, panels in rows for panel in panels if (named := names(panel))]
    side = max([PANEL, *(0.5 + NAMED * len(named) + LETTER * max(map(len, named)) for named in sided)])
    height = side + 0.22 + (0.2 if captions else 0)
    figure = canvas(max(4.5, side * columns), height * len(rows))
    for strip, (title, panels) in zip(np.atleast_1d(figure.subfigures(len(rows), 1)), rows, strict=True):
        strip.suptitle(title, fontsize=8, x=0.02, ha="left")
        places = strip.subplots(1, columns, squeeze=False)[0]
        for axes in places:
            axes.axis("off")
        for axes, panel in zip(places, panels, strict=False):
            draw_panel(axes, panel)
            if upwards and panel.classes is None:
                axes.invert_yaxis()
    save(figure, path)


def names(panel: Panel) -> list[str]:
    """What stands at the sides of its map."""
    few = panel.classes is not None and len(panel.classes) <= NAMES_UP_TO
    return drawable(panel.classes, "class") if few else []


def draw_panel(axes: Axes, panel: Panel) -> None:
    """One picture, map, or map over a picture."""
    axes.set_title(panel.caption, fontsize=7, pad=2)
    size = None
    if panel.picture is not None:
        height, width = panel.picture.shape[1:]
        size = (-0.5, width - 0.5, height - 0.5, -0.5)
        shown = panel.picture[0] if len(panel.picture) == 1 else panel.picture.transpose(1, 2, 0)
        if panel.map is not None:
            shown = (255 * (1 - DIMMED) + DIMMED * shown).astype(np.uint8)
        axes.imshow(shown, cmap="gray", vmin=0, vmax=255, extent=size)
    if panel.map is not None:
        limit = abs(panel.map).max() or 1.0
        alpha = OPACITY * abs(panel.map) / limit if panel.picture is not None else None
        axes.imshow(panel.map, cmap="RdBu_r", vmin=-limit, vmax=limit, alpha=alpha, extent=size)
    if named := names(panel):
        axes.axis("on")
        axes.set_xticks(range(len(named)), named, rotation=90 if max(map(len, named)) > 2 else 0, fontsize=7)
        axes.set_yticks(range(len(named)), named, fontsize=7)
