"""Texts whose pieces are coloured by what they say for an answer, for a terminal."""

from matplotlib import colormaps
from matplotlib.colors import to_hex
from rich.style import Style
from rich.text import Text

from mlbench.runs.results import Passage

COLOURS = colormaps["RdBu_r"]


PALE = 0.6  # of the scale's half is used, so that black letters stay readable


def colour(value: float, largest: float) -> str:
    """Red for pieces that speak for the answer, blue for those that speak against it."""
    share = value / largest if largest else 0.0
    return to_hex(COLOURS(0.5 + 0.5 * PALE * share))


def word_part(piece: str) -> tuple[bool, str]:
    """(whether it begins a word, its letters)."""
    return (False, piece[2:]) if piece.startswith("##") else (True, piece)


def rich_text(passage: Passage) -> Text:
    """The same for a terminal."""
    text, largest = Text(f"{passage.title}\n  "), max(map(abs, passage.values), default=0.0)
    for piece, value in zip(passage.pieces, passage.values, strict=True):
        begins, letters = word_part(piece)
        text.append(" " if begins else "")
        text.append(letters, Style(color="black", bgcolor=colour(value, largest)))
    return text
