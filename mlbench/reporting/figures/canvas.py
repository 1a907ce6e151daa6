"""What every figure is drawn on."""

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mlbench.core.atomic_io import write_whole
from mlbench.core.quiet import errors_only
from mlbench.reporting.figures.lettering import FONTS, letter


def canvas(width: float, height: float) -> Figure:
    """A figure of so many inches that needs no display."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a PNG; texts stand in it as they are written."""
    letter(figure)
    with errors_only(FONTS):
        write_whole(path, lambda stream: figure.savefig(stream, format="png", dpi=130))
