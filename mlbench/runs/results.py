"""The results of a technique as plain tables, arrays and pictures; a runner writes and reporting/figures draws them."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Chart:
    """A figure of a table: `y` over `x`, a line or, if `by` names a column, a line for each of its values."""

    table: str
    x: str
    y: str
    by: str | None = None
    log: bool = False
    points: bool = False  # no lines between them


@dataclass
class Panel:
    """One panel of a grid: a picture, a map, or a map over a picture.

    Args:
        caption: its title.
        picture: uint8 [C, H, W].
        map: signed numbers [H, W], drawn on a scale symmetric about 0.
        classes: for a map between classes [classes, classes] their names, which stand at its sides.
    """

    caption: str = ""
    picture: np.ndarray | None = None
    map: np.ndarray | None = None
    classes: list[str] | None = None


Row = tuple[str, list[Panel]]  # title, panels


@dataclass
class Passage:
    """A text whose word pieces have values: positive where they support an answer, negative where they oppose it."""

    title: str
    pieces: list[str]  # one that begins with "##" continues a word
    values: list[float]


@dataclass
class Cloud:
    """Points in the plane, coloured by class.

    Args:
        title: the title of the panel.
        points: positions [n, 2].
        labels: the class of each point [n].
        names: the names of the classes.
    """

    title: str
    points: np.ndarray
    labels: np.ndarray
    names: list[str]


@dataclass
class Bars:
    """Named numbers, drawn as bars to either side of 0, the largest first."""

    title: str
    names: list[str]
    values: list[float]


@dataclass
class Sheet:
    """A photograph, the answers to it, and maps over it.

    Args:
        title: the name of its file.
        picture: gives uint8 [C, H, W]; called when it is drawn, so that one of many photographs is held at a time.
        maps: what each map is of, and signed numbers [h, w] over the whole picture, on a scale symmetric about 0.
        ends: what the smallest and the largest value of these scales mean.
        names: the most probable classes, the best first.
        values: their probabilities.
    """

    title: str
    picture: Callable[[], np.ndarray]
    maps: list[tuple[str, np.ndarray]]
    ends: tuple[str, str]
    names: list[str]
    values: list[float]


@dataclass
class Results:
    """The results of an explanation, which the runner writes."""

    kind: str = ""  # only runs whose results are of one kind are compared with one another
    headlines: dict[str, str] = field(default_factory=dict)  # metrics that tables show -> `high`, `low` or "" is good
    metrics: dict[str, float] = field(default_factory=dict)
    tables: dict[str, list[dict[str, object]]] = field(default_factory=dict)  # name -> rows, written as <name>.csv
    charts: dict[str, Chart] = field(default_factory=dict)  # name of a figure
    arrays: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)  # written as artefacts/<name>.npz
    grids: dict[str, list[Row]] = field(default_factory=dict)  # name of a figure
    sheets: dict[str, Sheet] = field(default_factory=dict)  # name of a figure
    clouds: dict[str, list[list[Cloud]]] = field(default_factory=dict)  # name of a figure -> rows of panels
    bars: dict[str, list[Bars]] = field(default_factory=dict)  # name of a figure -> its panels
    passages: dict[str, list[Passage]] = field(default_factory=dict)  # name of a figure
    sounds: dict[str, tuple[int, np.ndarray]] = field(
        default_factory=dict
    )  # artefacts/<name>.wav: samples a second, wave
    texts: dict[str, str] = field(default_factory=dict)  # file name -> content
    notes: list[str] = field(default_factory=list)  # lines for the terminal, such as a warning

    def join(self, other: "Results") -> None:
        """Add the results of another explanation."""
        for name, mine in vars(self).items():
            if isinstance(mine, dict):
                mine.update(getattr(other, name))
            elif isinstance(mine, list):
                mine.extend(getattr(other, name))
        self.kind = self.kind or other.kind
