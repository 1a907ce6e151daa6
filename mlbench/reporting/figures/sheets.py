"""A photograph, the answers to it, and maps over it, on one sheet; no torch, no global state."""

from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from PIL import Image

from mlbench.core.plain_text import printable
from mlbench.reporting.figures.canvas import DPI, canvas, save
from mlbench.reporting.figures.grids import DIMMED, OPACITY, limit
from mlbench.reporting.figures.lettering import drawable, shortened
from mlbench.runs.results import Sheet

SIDE = 4.8  # inches of a picture
COLUMNS = 4  # pictures side by side
EDGE, GAP = 0.25, 0.2  # inches around all, and between the pictures
HEAD, CAPTION, BAR, AXIS = 0.45, 0.3, 0.22, 0.45  # inches: of the title, above a picture, of a bar, below the bars
NAMES, KEY = 2.3, 1.9  # inches of the names at the bars, and of the key beside the map
STRIPE = 0.16  # inches: the width of the key
LETTERS = 60  # of a title, which may be wide ones
BARS = "#4d4d4d"


def draw_sheet(sheet: Sheet, path: Path) -> None:
    """The photograph, the maps over it with a key to their colours, and below them the most probable classes.

    Each pixel of the photograph has at least one of the figure, but for that of very many maps.
    """
    picture = sheet.picture()
    columns, rows = min(COLUMNS, 1 + len(sheet.maps)), -(-(1 + len(sheet.maps)) // COLUMNS)
    width = EDGE + columns * (SIDE + GAP) - GAP + KEY
    below = AXIS + BAR * len(sheet.names)
    height = HEAD + rows * (CAPTION + SIDE) + CAPTION + below
    figure = canvas(width, height, (0, 0, 0, 0), dpi=max(DPI, picture.shape[1] / SIDE))
    side = round(SIDE * figure.dpi)
    image = Image.fromarray(picture.transpose(1, 2, 0).squeeze()).convert("RGB")
    pixels = np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))
    title = shortened(printable(sheet.title), LETTERS)
    figure.text(EDGE / width, 1 - HEAD / 2 / height, title, fontsize=13, va="center")
    shown = [
        ("photograph", pixels),
        *((caption, overlay(pixels, enlarged(each, side))) for caption, each in sheet.maps),
    ]
    for number, (caption, each) in enumerate(shown):
        left = EDGE + number % COLUMNS * (SIDE + GAP)
        bottom = height - HEAD - (number // COLUMNS + 1) * (CAPTION + SIDE)
        figure.add_artist(Pixels(each, left * figure.dpi, bottom * figure.dpi))
        figure.text(left / width, (bottom + SIDE + 0.08) / height, shortened(printable(caption), LETTERS), fontsize=9)
    draw_key(part(figure, width - KEY + 0.1, height - HEAD - CAPTION - 0.75 * SIDE, STRIPE, SIDE / 2), sheet.ends)
    if sheet.names:
        draw_answers(part(figure, EDGE + NAMES, AXIS, 2 * SIDE + GAP - NAMES, BAR * len(sheet.names)), sheet)
    save(figure, path)


def part(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at a place in inches."""
    across, up = figure.get_size_inches()
    return figure.add_axes((left / across, bottom / up, width / across, height / up))


class Pixels(Artist):
    """A picture uint8 [H, W, 3] of which each pixel is one of the figure; matplotlib's own are sampled, which is slow.

    Args:
        pixels: the picture.
        left: where it begins, in pixels of the figure, from its left.
        bottom: the same from below.
    """

    def __init__(self, pixels: np.ndarray, left: float, bottom: float):
        super().__init__()
        opaque = np.full((*pixels.shape[:2], 1), 255, np.uint8)
        self.pixels, self.place = np.concatenate([pixels, opaque], 2)[::-1], (round(left), round(bottom))

    def draw(self, renderer: RendererBase) -> None:
        """Copy it."""
        renderer.draw_image(renderer.new_gc(), *self.place, self.pixels)


def enlarged(values: np.ndarray, side: int) -> np.ndarray:
    """A map at the resolution of a square picture, bilinear."""
    return np.asarray(Image.fromarray(values.astype(np.float32)).resize((side, side), Image.Resampling.BILINEAR))


def overlay(pixels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """A map [H, W] over a picture uint8 [H, W, 3], as `draw_grid` draws it, but made much faster: uint8 [H, W, 3]."""
    share = values / limit(values)
    colours = colormaps["RdBu_r"](np.round(127.5 + 127.5 * share).astype(np.uint8), bytes=True)[..., :3]
    ground = 255 * (1 - DIMMED) + DIMMED * pixels.astype(np.float32)
    return np.round(ground + OPACITY * abs(share)[..., None] * (colours - ground)).astype(np.uint8)


def draw_key(axes: Axes, ends: tuple[str, str]) -> None:
    """What the colours of a map mean."""
    key = axes.figure.colorbar(ScalarMappable(cmap="RdBu_r"), cax=axes, ticks=(0, 0.5, 1))
    key.set_ticklabels([ends[0], "0", ends[1]], fontsize=9)
    key.outline.set_visible(False)
    axes.text(0, 1.08, "scaled to the largest", fontsize=8, transform=axes.transAxes)


def draw_answers(axes: Axes, sheet: Sheet) -> None:
    """The most probable classes as bars."""
    places = range(len(sheet.names))
    axes.barh(places, sheet.values, color=BARS, height=0.7)
    for place, value in zip(places, sheet.values, strict=True):
        axes.text(value + 0.005, place, f"{value:.3f}", fontsize=8, va="center")
    axes.set_yticks(places, drawable(sheet.names, "class"), fontsize=9)
    axes.set(xlim=(0, 1.06), ylim=(len(sheet.names) - 0.5, -0.5))
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.tick_params(axis="x", labelsize=8)
    axes.tick_params(axis="y", length=0)
    axes.set_title("probability", fontsize=9, loc="left")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
