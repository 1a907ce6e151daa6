"""Texts for a terminal, each word piece coloured by its value."""

from matplotlib import colormaps
from matplotlib.colors import to_hex
from rich.style import Style
from rich.text import Text

from mlbench.runs.results import Passage

COLOURS = colormaps["RdBu_r"]


PALE = 0.6  # of the scale's half is used, so that black letters stay readable


def colour(value: float, largest: float) -> str:
    """Return the colour of a value: red for positive values, blue for negative ones."""
    share = value / largest if largest else 0.0
    return to_hex(COLOURS(0.5 + 0.5 * PALE * share))


def word_part(piece: str) -> tuple[bool, str]:
    """Return (whether the piece begins a word, its letters)."""
    return (False, piece[2:]) if piece.startswith("##") else (True, piece)


def rich_text(passage: Passage) -> Text:
    """Return the passage as text with coloured word pieces."""
    text, largest = Text(f"{passage.title}\n  "), max(map(abs, passage.values), default=0.0)
    for piece, value in zip(passage.pieces, passage.values, strict=True):
        begins, letters = word_part(piece)
        text.append(" " if begins else "")
        text.append(letters, Style(color="black", bgcolor=colour(value, largest)))
    return text
