"""What a technique found, as plain tables, arrays and pictures; a runner writes it, figures/ draws it."""

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
    """One panel of a grid: a picture uint8 [C, H, W], a signed map [H, W], drawn on a scale symmetric about 0, or
    both, the map over the picture. A map of numbers between classes [C, C] has their names at its sides."""

    caption: str = ""
    picture: np.ndarray | None = None
    map: np.ndarray | None = None
    classes: list[str] | None = None


Row = tuple[str, list[Panel]]  # title, panels


@dataclass
class Passage:
    """A text whose pieces have values: what speaks for something, and, negative, what against it."""

    title: str
    pieces: list[str]  # "##" begins one that goes on with a word
    values: list[float]


@dataclass
class Cloud:
    """Points [n, 2] with numbers [n] of what they are, and the names of these numbers."""

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
class Findings:
    """What an explanation found; the runner writes it."""

    kind: str = ""  # what runs are called that find such things: they are compared with one another
    headlines: dict[str, str] = field(default_factory=dict)  # metrics that tables show -> `high`, `low` or "" is good
    metrics: dict[str, float] = field(default_factory=dict)
    tables: dict[str, list[dict[str, object]]] = field(default_factory=dict)  # name -> rows, written as <name>.csv
    charts: dict[str, Chart] = field(default_factory=dict)  # name of a figure
    arrays: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)  # written as artefacts/<name>.npz
    grids: dict[str, list[Row]] = field(default_factory=dict)  # name of a figure
    clouds: dict[str, list[list[Cloud]]] = field(default_factory=dict)  # name of a figure -> rows of panels
    bars: dict[str, list[Bars]] = field(default_factory=dict)  # name of a figure -> its panels
    passages: dict[str, list[Passage]] = field(default_factory=dict)  # name of a figure
    sounds: dict[str, tuple[int, np.ndarray]] = field(
        default_factory=dict
    )  # artefacts/<name>.wav: samples a second, wave
    texts: dict[str, str] = field(default_factory=dict)  # file name -> content

    def join(self, other: "Findings") -> None:
        """Take over what another one found."""
        for name, mine in vars(self).items():
            if isinstance(mine, dict):
                mine.update(getattr(other, name))
        self.kind = self.kind or other.kind
