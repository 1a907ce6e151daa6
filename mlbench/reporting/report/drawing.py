"""What cannot be drawn becomes a line in the place where it would stand, and the rest of the page stays."""

from collections.abc import Callable

from mlbench.core.plain_text import printable
from mlbench.reporting.html import page
from mlbench.reporting.html.page import Section

LETTERS = 160  # of a reason


def drawn(what: str, make: Callable[[], page.Markup]) -> page.Markup:
    """A part of a page, or the line that stands in its place.

    Args:
        what: what is drawn.
        make: draws it; whatever it raises is a fault of these runs' files or of the drawing, and costs this part alone.
    """
    try:
        return make()
    except Exception as error:
        return page.paragraph(not_drawn(what, error))


def drawn_section(name: str, title: str, make: Callable[[], Section | None]) -> Section | None:
    """A section of a page, or one of that name and title with the line that stands in its place."""
    try:
        return make()
    except Exception as error:
        return Section(name, title, page.paragraph(not_drawn(title, error)))


def not_drawn(what: str, error: Exception) -> str:
    """The line for something that cannot be drawn."""
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:LETTERS]
    return printable(f"{what} cannot be drawn ({reason})")
