"""Which pictures and sounds a page holds: as many as fit into a number of megabytes, every run its first ones first."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mlbench.reporting.report.grouping import Setting
from mlbench.runs import layout
from mlbench.runs.point_columns import POINT_COSTS

ENCODED = 4 / 3  # bytes of a data URI for each byte of the file
FIRST = ("maps", "texts", "layers", "classes")  # figures that stand before the others
DRAWN = {  # figures that the page draws itself, from the tables
    "deletion", "insertion", "randomisation", "r2", "digit", "speaker", "silhouette", "neighbours", "accuracies",
    "selectivity", *(f"accuracy_{cost}" for cost in POINT_COSTS),
}  # fmt: skip
LAYER = re.compile(r"(?P<title>.+?)_(?P<what>original|(?:untrained_)?layer_\d+)")
NATURAL = re.compile(r"(\d+)")


@dataclass
class Media:
    """The files of one setting's first run that a page may hold."""

    setting: Setting
    figures: list[Path]
    sounds: dict[str, list[tuple[str, Path]]]  # title -> what it is and where
    chosen: set[Path] = field(default_factory=set)

    def in_order(self) -> list[list[Path]]:
        """What is embedded together or not at all: a figure, or all sounds of one title; the first ones first."""
        figures = [[path] for path in self.figures]
        sounds = [[path for _, path in players] for players in self.sounds.values()]
        return [*figures[:1], *sounds[:1], *figures[1:], *sounds[1:]]


def media(setting: Setting) -> Media:
    """The figures and sounds of a setting's first run."""
    folder = setting.first.folder
    figures = [path for path in files(folder / layout.FIGURES, "*.png") if path.stem not in DRAWN]
    figures.sort(key=lambda path: (FIRST.index(path.stem) if path.stem in FIRST else len(FIRST), natural(path.stem)))
    sounds: dict[str, list[tuple[str, Path]]] = {}
    for path in sorted(files(folder / layout.ARTEFACTS, "*.wav"), key=lambda path: natural(path.stem)):
        layer = LAYER.fullmatch(path.stem)
        title, what = (layer["title"], layer["what"]) if layer else ("sounds", path.stem)
        sounds.setdefault(title, []).append((what.replace("_", " "), path))
    for players in sounds.values():
        players.sort(key=lambda player: ("untrained" in player[0], player[0] != "original"))
    return Media(setting, figures, sounds)


def files(folder: Path, pattern: str) -> list[Path]:
    """The files of a pattern, without links: these could bring any file of this machine into a page that is sent on."""
    if folder.is_symlink():
        return []
    return [path for path in folder.glob(pattern) if path.is_file() and not path.is_symlink()]


def natural(text: str) -> list[object]:
    """A key by which layer 10 comes after layer 9."""
    return [
        (len(number := part.lstrip("0")), number) if place % 2 else part
        for place, part in enumerate(NATURAL.split(text))
    ]


def choose(media_of_settings: Sequence[Media], megabytes: float) -> list[Path]:
    """Choose what the page embeds, the settings taking turns.

    Args:
        media_of_settings: the files of each setting; `chosen` is filled.
        megabytes: the budget, for the files as they are encoded on the page.

    Returns:
        The files that had no room.
    """
    room, left_out = megabytes * 1e6, []
    orders = [one.in_order() for one in media_of_settings]
    for turn in range(max(map(len, orders), default=0)):
        for one, order in zip(media_of_settings, orders, strict=True):
            if turn >= len(order):
                continue
            size = ENCODED * sum(path.stat().st_size for path in order[turn])
            if size <= room:
                room -= size
                one.chosen.update(order[turn])
            else:
                left_out += order[turn]
    return left_out
