"""What every figure is drawn on."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from PIL import Image

from mlbench.core.atomic_io import write_whole
from mlbench.core.quiet import errors_only
from mlbench.reporting.figures.lettering import FONTS, fallback, letter

DPI = 130
PIXELS, SIDE = 40e6, 16_000  # of a picture and of its longer side; more takes gigabytes, and few programs show it
LABEL = 0.21  # inches from the edge of a figure that the label of an axis takes


def canvas(
    width: float, height: float, margins: tuple[float, float, float, float] | None = None, dpi: float = DPI
) -> Figure:
    """A figure of so many inches that needs no display.

    `margins` are the inches left, right, below and above the axes, for the figures that every run draws: to measure
    all texts for a layout takes as long as to draw them. The labels of the axes stand in these margins.
    """
    dpi = min(dpi, (PIXELS / (width * height)) ** 0.5, SIDE / max(width, height))
    figure = Figure(figsize=(width, height), dpi=dpi, layout="constrained" if margins is None else None)
    if margins is not None:
        left, right, bottom, top = margins
        figure.subplots_adjust(left / width, bottom / height, 1 - right / width, 1 - top / height)
    return figure


def text_width(texts: Sequence[str], size: float) -> float:
    """The inches that the widest line of some texts needs; `size` in points."""
    renderer = FigureCanvasAgg(Figure(dpi=DPI)).get_renderer()
    widths = [0.0]
    for line in "\n".join(texts).splitlines():
        font = FontProperties(family=["sans-serif", *fallback(line)], size=size)
        widths.append(renderer.get_text_width_height_descent(line, font, ismath=False)[0])
    return max(widths) / DPI


def place_labels(figure: Figure) -> None:
    """Put titles and labels into the margins, `LABEL` inches from the edges, where they need not be measured."""
    for axes in (each for each in figure.axes if each.axison):
        width, height = figure.get_size_inches() * axes.get_position().size
        left, bottom = figure.get_size_inches() * (figure.subplotpars.left, figure.subplotpars.bottom)
        axes.set_title(axes.get_title(), y=1)
        axes.xaxis.set_label_coords(0.5, (LABEL - bottom) / height)
        axes.yaxis.set_label_coords((LABEL - left) / width, 0.5)


def save(figure: Figure, path: Path) -> None:
    """Write a PNG; texts stand in it as they are written."""
    if figure.get_layout_engine() is None:
        place_labels(figure)
    letter(figure)
    with errors_only(FONTS):
        drawing = FigureCanvasAgg(figure)  # its `savefig` would draw twice
        drawing.draw()
        picture = Image.fromarray(np.asarray(drawing.buffer_rgba())).convert("RGB")  # a white ground hides nothing
        write_whole(path, lambda stream: picture.save(stream, "PNG", compress_level=1, dpi=(figure.dpi, figure.dpi)))
