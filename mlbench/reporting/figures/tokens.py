"""Texts whose pieces are coloured by what they say for an answer: in a figure and on a terminal; no torch."""

from pathlib import Path

from mlbench.reporting.figures.canvas import canvas, save
from mlbench.runs.results import Passage
from mlbench.runs.token_text import colour, word_part

LINE, CHARACTER = 0.24, 0.075  # inches
WIDTH = 100  # characters in a line of the figure


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
        begins, letters = word_part(piece)
        if column and begins:
            column += 1
        if column + len(letters) > WIDTH:
            lines.append(("", []))
            column = 0
        lines[-1][1].append((column, letters, colour(value, largest)))
        column += len(letters)
    return lines
