"""Texts whose pieces are coloured by what they say for an answer: in a figure and on a terminal; no torch."""

from pathlib import Path

from matplotlib import colormaps
from matplotlib.colors import to_hex
from rich.style import Style
from rich.text import Text

from mlbench.figures.canvas import canvas, save
from mlbench.findings import Passage

COLOURS = colormaps["RdBu_r"]
PALE = 0.6  # of the scale's half is used, so that black letters stay readable
LINE, CHARACTER = 0.24, 0.075  # inches
WIDTH = 100  # characters in a line of the figure


def colour(value: float, largest: float) -> str:
    """Red for pieces that speak for the answer, blue for those that speak against it."""
    share = value / largest if largest else 0.0
    return to_hex(COLOURS(0.5 + 0.5 * PALE * share))


def spelled(piece: str) -> tuple[bool, str]:
    """(whether it begins a word, its letters)."""
    return (False, piece[2:]) if piece.startswith("##") else (True, piece)


Line = tuple[str, list[tuple[int, str, str]]]  # a title, or pieces: (column, letters, colour)


def draw_passages(passages: list[Passage], path: Path) -> None:
    """Each passage under its title, in lines of WIDTH characters."""
    lines = [line for passage in passages for line in set_in_lines(passage)]
    height, width = len(lines) + 1, WIDTH * CHARACTER + 0.4
    figure = canvas(width, LINE * height)
    for number, (title, pieces) in enumerate(lines, start=1):
        up = 1 - number / height
        figure.text(0.02, up, title, fontsize=7, color="0.35")
        for column, letters, shade in pieces:
            box = {"facecolor": shade, "edgecolor": "none", "pad": 1.5}
            at = (0.2 + column * CHARACTER) / width
            figure.text(at, up, letters, fontsize=8, family="monospace", bbox=box)
    save(figure, path)


def set_in_lines(passage: Passage) -> list[Line]:
    """The title, then the pieces, one line after another."""
    lines: list[Line] = [(passage.title, []), ("", [])]
    largest, column = max(map(abs, passage.values), default=0.0), 0
    for piece, value in zip(passage.pieces, passage.values, strict=True):
        begins, letters = spelled(piece)
        if column and begins:
            column += 1
        if column + len(letters) > WIDTH:
            lines.append(("", []))
            column = 0
        lines[-1][1].append((column, letters, colour(value, largest)))
        column += len(letters)
    return lines


def rich_text(passage: Passage) -> Text:
    """The same for a terminal."""
    text, largest = Text(f"{passage.title}\n  "), max(map(abs, passage.values), default=0.0)
    for piece, value in zip(passage.pieces, passage.values, strict=True):
        begins, letters = spelled(piece)
        text.append(" " if begins else "")
        text.append(letters, Style(color="black", bgcolor=colour(value, largest)))
    return text
