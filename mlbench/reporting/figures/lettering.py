"""Texts of figures as they are written: no mathematics in dollar signs, and every letter in a font that has it."""

import functools
import sys
from collections.abc import Iterable, Iterator, Sequence

from matplotlib import font_manager
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.text import Text
from matplotlib.ticker import LogFormatter, ScalarFormatter

from mlbench.core.quiet import errors_only

STAND_IN = "Last Resort"  # draws a box with a number for whatever it is asked for
FONTS = "matplotlib.font_manager"  # its logger tells of every family that has no weight of 400
SANS_SERIF = ("sans-serif",)  # what matplotlib draws texts with
NAME, TITLE, TEXT = 28, 48, 120  # letters that names at axes, what belongs to a panel, and other texts have room for


def letter(figure: Figure) -> None:
    """Make all texts of a figure stand for themselves, each in fonts that have its letters.

    Letters that no installed font has are drawn as their numbers in Unicode; a line on stderr says so, once.
    """
    texts = list(texts_of(figure))
    for text in (each for each in texts if each.get_text()):
        text.set_text(shortened(text.get_text(), TEXT if text.axes is None else TITLE))
        own = tuple(text.get_fontfamily())
        if undrawable(text.get_text(), own):
            text.set_fontfamily([*own, *fallback(text.get_text(), own)])
            if rest := undrawable(text.get_text(), tuple(text.get_fontfamily())):
                warn("".join(sorted(rest)))
                text.set_text("".join(f"<{ord(each):X}>" if each in rest else each for each in text.get_text()))
    for text in texts:
        text.set_parse_math(False)


def texts_of(artist: Artist) -> Iterator[Text]:
    """All texts of a part of a figure but for the numbers at ticks.

    Numbers have no letters to look after, powers of ten are matplotlib's own mathematics, and ticks take long to make,
    most of all where the axes are switched off.
    """
    if isinstance(artist, Text):
        yield artist
    if isinstance(artist, Axis) and isinstance(artist.get_major_formatter(), (ScalarFormatter, LogFormatter)):
        yield artist.label
        return
    off = isinstance(artist, Axes) and not artist.axison
    for child in artist.get_children():
        if not (off and isinstance(child, Axis)):
            yield from texts_of(child)


def legend_name(name: str) -> str:
    """A name as a legend shows it; matplotlib leaves out those that begin with an underscore."""
    return f" {name}" if name.startswith("_") else name


def drawable(names: Sequence[str], what: str) -> list[str]:
    """Names as figures can show them: shortened, and `class 3` (from 0) for one with letters that no font has."""
    found = []
    for number, name in enumerate(names):
        rest = undrawable(name, (*SANS_SERIF, *fallback(name)))
        if rest:
            warn("".join(sorted(rest)))
        found.append(f"{what} {number}" if rest else shortened(name, NAME))
    return found


def shortened(text: str, most: int) -> str:
    """A text of at most so many letters, its middle left out where it has more."""
    half = (most - 1) // 2
    return text if len(text) <= most else f"{text[:half]}…{text[-half:]}"


@functools.cache
def warn(letters: str) -> None:
    """Say once for the same letters what becomes of them."""
    shown = letters if len(letters) <= 10 else f"{letters[:10]}..."
    print(
        f"no installed font has {shown}: figures show numbers instead; a font such as Noto Sans CJK brings them",
        file=sys.stderr,
    )


@functools.cache
def undrawable(text: str, fonts: tuple[str, ...]) -> frozenset[str]:
    """The letters of a text that none of these families of fonts has."""
    if text.isascii():
        return frozenset()
    there = frozenset().union(*(coverage(file_of(font)) for font in fonts))
    return frozenset(each for each in text if not each.isspace() and ord(each) not in there)


def fallback(text: str, fonts: tuple[str, ...] = SANS_SERIF) -> tuple[str, ...]:
    """Installed families that have the letters of a text that these lack."""
    return families(undrawable(text, fonts))


@functools.cache
def families(letters: frozenset[str]) -> tuple[str, ...]:
    """Installed families that have as many of these letters as there are, few of them."""
    chosen: list[str] = []
    wanted = {ord(each) for each in letters}
    candidates = dict(regular_fonts())
    while wanted and candidates:
        best = max(candidates, key=lambda name: len(wanted & coverage(candidates[name])))
        if not wanted & coverage(candidates[best]):
            break
        chosen.append(best)
        wanted -= coverage(candidates.pop(best))
    return tuple(chosen)


def regular_fonts() -> Iterable[tuple[str, str]]:
    """Name and file of every installed family that is upright and can be read by its name."""
    for font in font_manager.fontManager.ttflist:
        if font.style == "normal" and STAND_IN not in font.name and file_of(font.name) == font.fname:
            yield font.name, font.fname


@functools.cache
def file_of(family: str) -> str:
    """The file that matplotlib takes for a family."""
    with errors_only(FONTS):
        return str(font_manager.findfont(FontProperties(family=[family])))


@functools.cache
def coverage(file: str) -> frozenset[int]:
    """The numbers in Unicode of the letters that a font has."""
    return frozenset(font_manager.get_font(file).get_charmap())
