"""Figures of very many things: of a size that programs show, and without a warning."""

import numpy as np
import pytest
from PIL import Image

from mlbench.core.csv_files import write_csv
from mlbench.core.statistics import spread
from mlbench.reporting.figures import canvas, comparisons, grids, streams
from mlbench.runs.results import Panel

MANY = 200


def matrix(folder):
    rows = [[learned, *([0.5] * MANY)] for learned in range(MANY + 1)]
    write_csv(folder / "table.csv", ["tasks_learned", *(f"task {i}" for i in range(MANY))], rows)
    names, rows = streams.read_matrix(folder / "table.csv")
    streams.draw_matrix(names, rows, folder / "figure.png")


def over_time(folder):
    rows = {learned: [0.5] * MANY for learned in range(0, MANY + 1, 20)}
    streams.draw_accuracy_over_time([f"task {i}" for i in range(MANY)], rows, folder / "figure.png")


def bars(folder):
    groups = [(f"lifelong.strength={i}", spread([0.1, 0.2])) for i in range(MANY)]
    comparisons.draw_bars(groups, "accuracy", folder / "figure.png")


def curves(folder):
    rows = [[f"s={i}", learned, "average_accuracy", 0.5, 0.1, 2] for i in range(MANY) for learned in (1, 2)]
    header = ["setting", "tasks_learned", "metric", "mean", "half_interval", "runs"]
    write_csv(folder / "table.csv", header, rows)
    comparisons.draw_curves(folder / "table.csv", folder / "figure.png", ordered=True)


def grid(folder):
    picture = np.zeros((1, 8, 8), np.uint8)
    grids.draw_grid([(f"picture {i}", [Panel("input", picture)] * 3) for i in range(MANY)], folder / "figure.png")


@pytest.mark.parametrize("draw", [matrix, over_time, bars, curves, grid])
def test_a_figure_of_many_things_can_be_shown(draw, tmp_path):
    draw(tmp_path)
    with Image.open(tmp_path / "figure.png") as picture:
        assert max(picture.size) <= canvas.SIDE + 1
        assert picture.width * picture.height <= 1.01 * canvas.PIXELS
