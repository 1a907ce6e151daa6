"""Figures of one run over a stream of tasks, from its tables."""

from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from mlbench.core.csv_files import read_rows, read_table
from mlbench.reporting.figures.canvas import canvas, save
from mlbench.reporting.over_time import OVER_TIME

NUMBERS_UP_TO = 20  # columns of a heat map that still have room for numbers
NAMES_UP_TO = 40  # lines whose names still have room
LARGEST = 16.0  # inches of a heat map


def read_matrix(path: Path) -> tuple[list[str], dict[int, list[float]]]:
    """Task names and, by the number of tasks learned, the accuracies of accuracy_matrix.csv."""
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = read_table(file)
    return header[1:], {int(row[0]): [float(value) for value in row[1:]] for row in rows}


def lifelong_figures(table: Path, folder: Path) -> None:
    """The matrix R as a heat map, and accuracies over time, from accuracy_matrix.csv."""
    names, rows = read_matrix(table)
    draw_matrix(names, rows, folder / "accuracy_matrix.png")
    if len(rows) > 2:
        draw_accuracy_over_time(names, rows, folder / "accuracy_over_time.png")
        draw_average_accuracy(rows, folder / "average_accuracy.png")


def draw_matrix(names: list[str], rows: dict[int, list[float]], path: Path) -> None:
    """A heat map: tasks learned downwards, tested tasks to the right, per cent in the cells."""
    width, height = 3 + 0.42 * len(names), 1.4 + 0.34 * len(rows)
    figure = canvas(min(max(4.5, width), LARGEST), min(max(2.6, height), LARGEST))
    axes = figure.subplots()
    learned = list(rows)
    picture = axes.imshow([rows[i] for i in learned], vmin=0, vmax=1, cmap="viridis", aspect="auto")
    if len(names) <= NUMBERS_UP_TO:
        for y, i in enumerate(learned):
            for x, value in enumerate(rows[i]):
                colour = "black" if value > 0.6 else "white"
                axes.text(x, y, f"{100 * value:.0f}", ha="center", va="center", color=colour, fontsize=8)
    across, down = -(-len(names) // NAMES_UP_TO), -(-len(learned) // NAMES_UP_TO)
    axes.set_xticks(range(0, len(names), across), range(1, len(names) + 1, across))
    axes.set_yticks(range(0, len(learned), down), learned[::down])
    axes.set(xlabel="tested on task", ylabel="tasks learned", title="accuracy, %")
    figure.colorbar(picture, ax=axes, format=lambda value, _: f"{100 * value:.0f}")
    save(figure, path)


def draw_accuracy_over_time(names: list[str], rows: dict[int, list[float]], path: Path) -> None:
    """One line for each task, from the moment it was learned; the later the task, the lighter its line."""
    figure = canvas(7, 4.2)
    axes = figure.subplots()
    for task, name in enumerate(names):
        after = [i for i in rows if i > task]
        colour = colormaps["viridis"](0.92 * task / max(1, len(names) - 1))
        label = f"{task + 1}: {name}" if len(name) <= 28 else f"task {task + 1}"
        axes.plot(after, [rows[i][task] for i in after], label=label, color=colour, marker=".", linewidth=1.2)
    axes.set(xlabel="tasks learned", ylabel="accuracy", ylim=(0, 1.02))
    axes.set_title("accuracy on each task since it was learned")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    if len(names) <= NAMES_UP_TO:
        axes.legend(fontsize=7, ncols=2 if len(names) > 12 else 1, loc="center left", bbox_to_anchor=(1.0, 0.5))
    save(figure, path)


def draw_average_accuracy(rows: dict[int, list[float]], path: Path) -> None:
    """The mean accuracy over the tasks learned so far."""
    figure = canvas(5.5, 3.6)
    axes = figure.subplots()
    title, value = OVER_TIME["average_accuracy"]
    learned = [i for i in rows if i > 0]
    axes.plot(learned, [value(i, rows[i]) for i in learned], marker="o")
    axes.set(xlabel="tasks learned", ylabel="average accuracy", title=title, ylim=(0, 1.02))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    save(figure, path)


def draw_task_costs(table: Path, path: Path) -> None:
    """From tasks.csv the seconds of each task, and the same by example: flat, or growing with the number of tasks.

    The first task, which also pays for the program's warm-up, is pale and does not set the scale; the dashed line is
    the median of the others.
    """
    rows = read_rows(table)
    number, training, consolidation, samples = (
        np.array([float(row[name]) for row in rows])
        for name in ("task", "train_seconds", "consolidate_seconds", "samples")
    )
    figure = canvas(10, 3.6)
    left, right = figure.subplots(1, 2)
    draw_stacked(left, number, training, consolidation)
    each = 1e6 / np.maximum(samples, 1)  # a task that nothing was learned from has no samples and took no time
    draw_stacked(right, number, training * each, consolidation * each)
    left.set_ylabel("seconds a task")
    right.set_ylabel("microseconds an example processed")
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    save(figure, path)


def draw_stacked(axes: Axes, number: np.ndarray, training: np.ndarray, consolidation: np.ndarray) -> None:
    """The costs [tasks] of training and of consolidation on top of it, a bar for each task."""
    for kind, colour, heights, below in (
        ("training", "C0", training, 0 * training),
        ("consolidation", "C1", consolidation, training),
    ):
        axes.bar(number[1:], heights[1:], bottom=below[1:], color=colour, label=kind)
        axes.bar(number[:1], heights[:1], bottom=below[:1], color=colour, alpha=0.35)
    later = (training + consolidation)[1:]
    axes.axhline(np.median(later), color="black", linestyle="--", linewidth=1, label="median, without task 1")
    axes.set(xlabel="task", ylim=(0, 1.15 * later.max() or None))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)


def draw_rounds(table: Path, path: Path) -> None:
    """Accuracies of a model in service over its rounds, above the labels that its users gave, from rounds.csv."""
    rows = read_rows(table)
    rounds = [int(row["round"]) for row in rows]
    figure = canvas(6.5, 4.6)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    lines = {
        "online_accuracy": "on the round, before its update",
        "round_accuracy": "on the round, after its update",
        "original_accuracy": "on the original data, after the update",
    }
    for (name, label), style in zip(lines.items(), ("o-", "^--", "s:"), strict=True):
        upper.plot(rounds, [float(row[name]) for row in rows], style, label=label)
    upper.set(ylabel="accuracy", ylim=(0, 1.02), title="a model in service")
    upper.grid(alpha=0.3)
    upper.legend(fontsize=8)
    lower.bar(rounds, [float(row["labels"]) for row in rows], color="0.6")
    lower.set(xlabel="round", ylabel="labels given")
    lower.xaxis.set_major_locator(MaxNLocator(integer=True))
    save(figure, path)
