"""Figures of named numbers as bars: what each feature of a table counts for; no torch, no global state."""

from pathlib import Path

from mlbench.reporting.figures.canvas import canvas, save
from mlbench.reporting.figures.lettering import drawable
from mlbench.runs.results import Bars

BARS = 20  # in a panel: the largest
COLUMNS = 3  # panels side by side
WIDTH, HEIGHT, BAR = 3.6, 0.6, 0.17  # inches: of a panel, of its title and axis, of a bar
POSITIVE, NEGATIVE = "#b2182b", "#2166ac"  # the ends of the colours of maps


def draw_bars(panels: list[Bars], path: Path) -> None:
    """A panel for each, the bar of the largest number on top."""
    rows, columns = -(-len(panels) // COLUMNS), min(COLUMNS, len(panels))
    bars = min(BARS, max(len(panel.names) for panel in panels))
    figure = canvas(WIDTH * columns, (HEIGHT + BAR * bars) * rows)
    places = figure.subplots(rows, columns, squeeze=False).flat
    for axes in places:
        axes.axis("off")
    for axes, panel in zip(figure.axes, panels, strict=False):
        order = sorted(range(len(panel.values)), key=lambda number: -abs(panel.values[number]))[:BARS]
        names = drawable(panel.names, "feature")
        values = [panel.values[number] for number in order]
        axes.axis("on")
        axes.barh(range(len(order)), values, color=[POSITIVE if value >= 0 else NEGATIVE for value in values])
        axes.set_yticks(range(len(order)), [names[number] for number in order], fontsize=7)
        axes.tick_params(axis="x", labelsize=7)
        axes.locator_params(axis="x", nbins=4)
        axes.invert_yaxis()
        axes.axvline(0, color="0.4", linewidth=0.6)
        axes.set_title(panel.title, fontsize=8, loc="left")
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    save(figure, path)
