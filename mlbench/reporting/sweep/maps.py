"""Pictures explained by several runs of a sweep, side by side. No torch."""

import textwrap
from pathlib import Path

import numpy as np

from mlbench.core.input_files import open_regular
from mlbench.reporting.figures.grids import draw_grid
from mlbench.reporting.figures.sheets import draw_sheet
from mlbench.runs import layout
from mlbench.runs.figure_names import figure_names
from mlbench.runs.results import Panel, Row, Sheet
from mlbench.runs.run_record import RunRecord
from mlbench.runs.run_tables import read_of, valid_rows

SHOWN = 8  # pictures in maps.png; photographs have sheets beside it
SIGNS = ("negative", "positive")  # the ends of colours that mean different things for different methods
OF_PICTURES = ("pictures", "target", "maps", "target_names", "files")  # arrays with a row for each; older runs have few

Arrays = dict[str, np.ndarray]


def write_maps(runs: list[RunRecord], folder: Path) -> list[Path]:
    """maps.png: the same pictures explained in the way of each setting, from the first run of each; and of photographs
    figures/<name of the file>.png. Returns the figure and the folder."""
    maps: dict[str, Arrays] = {}
    for run in runs:
        if run.label not in maps and (own := read_of(run.folder, f"{layout.ARTEFACTS}/{layout.MAPS}", read_maps)):
            maps[run.label] = own
    explained = {(each["pictures"].tobytes(), each["target"].tobytes()) for each in maps.values()}
    if len(maps) < 2 or len(explained) > 1:  # other pictures, or other answers, cannot stand beside one another
        return []
    count = len(next(iter(maps.values()))["pictures"])
    draw_grid([row(maps, number) for number in range(min(SHOWN, count))], folder / "maps.png")
    if not all("ends" in each for each in maps.values()):
        return [folder / "maps.png"]
    first = next(run for run in runs if run.label in maps)
    answers = read_of(first.folder, layout.PREDICTIONS, read_answers) or []
    files = next(iter(maps.values()))["files"].tolist()
    for number, name in enumerate(figure_names([Path(file) for file in files], set())):
        draw_sheet(sheet(maps, answers, number), folder / layout.FIGURES / f"{name}.png")
    return [folder / "maps.png", folder / layout.FIGURES]


def row(maps: dict[str, Arrays], number: int) -> Row:
    """A picture and its maps by each setting."""
    first = next(iter(maps.values()))
    panels = [
        Panel(textwrap.fill(label.replace("_", " "), 16), map=each["maps"][number]) for label, each in maps.items()
    ]
    return title(first, number), [Panel("input", first["pictures"][number]), *panels]


def title(arrays: Arrays, number: int) -> str:
    """Which file this is, if it is one, and the class that is explained."""
    name = arrays["target_names"][number] if "target_names" in arrays else f"class {arrays['target'][number]}"
    return f"{arrays['files'][number]}, explained: {name}" if "files" in arrays else f"explained: {name}"


def sheet(maps: dict[str, Arrays], answers: list[tuple[str, float]], number: int) -> Sheet:
    """A photograph, as the network saw it, with its maps by each setting; `answers` are equally many for each file."""
    first = next(iter(maps.values()))
    ends = {tuple(each["ends"].tolist()) for each in maps.values()}
    most = len(answers) // len(first["files"])
    names, values = zip(*answers[number * most : (number + 1) * most], strict=True) if most else ((), ())
    over = [(label.replace("_", " "), each["maps"][number]) for label, each in maps.items()]
    meaning = ends.pop() if len(ends) == 1 else SIGNS
    return Sheet(title(first, number), lambda: first["pictures"][number], over, meaning, [*names], [*values])


def read_maps(path: Path) -> Arrays:
    """Pictures of maps.npz with their classes and maps, channels added up; empty of texts, which have none.

    All photographs that are files of their own and large, else the first. Raises ValueError for arrays that do not fit.
    """
    with open_regular(path) as stream, np.load(stream, allow_pickle=False) as file:
        if "pictures" not in file.files:
            return {}
        most = None if {"ends", "files"} <= set(file.files) else SHOWN
        arrays = {name: file[name][:most] for name in OF_PICTURES if name in file.files}
        if len({len(each) for each in arrays.values()}) > 1 or arrays["maps"].ndim != 4:
            raise ValueError("its arrays are not of the same pictures")
        arrays["maps"] = arrays["maps"].sum(1)
        return arrays | ({"ends": file["ends"]} if most is None else {})


def read_answers(path: Path) -> list[tuple[str, float]]:
    """Classes and probabilities of predictions.csv."""
    return [(each["class"], float(each["probability"])) for each in valid_rows(path)]
