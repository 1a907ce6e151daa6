"""What every figure is drawn on."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from mlbench.core.atomic_io import write_whole
from mlbench.core.quiet import errors_only
from mlbench.reporting.figures.lettering import FONTS, fallback, letter

DPI = 130
PIXELS, SIDE = 40e6, 16_000  # of a picture and of its longer side; more takes gigabytes, and few programs show it


def canvas(width: float, height: float, margins: tuple[float, float, float, float] | None = None) -> Figure:
    """A figure of so many inches that needs no display.

    `margins` are the inches left, right, below and above the axes, for the figures that every run draws: to measure
    all texts for a layout takes as long as to draw them.
    """
    dpi = min(DPI, (PIXELS / (width * height)) ** 0.5, SIDE / max(width, height))
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


def save(figure: Figure, path: Path) -> None:
    """Write a PNG; texts stand in it as they are written."""
    letter(figure)
    with errors_only(FONTS):
        drawing = FigureCanvasAgg(figure)  # its `savefig` would draw twice
        write_whole(path, lambda stream: drawing.print_png(stream, pil_kwargs={"compress_level": 1}))
