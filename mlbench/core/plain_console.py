"""The terminal on which text is text."""

import sys
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from mlbench.core.plain_text import printable

WIDTH = 160  # of what is no terminal


class PlainConsole(Console):
    """Standard output, or standard error, where neither square brackets, colons nor a terminal's commands inside of
    names do anything; styles and tables of rich are shown as ever."""

    def __init__(self, stderr: bool = False):
        stream = sys.stderr if stderr else sys.stdout
        width = None if stderr or stream.isatty() else WIDTH
        super().__init__(stderr=stderr, width=width, markup=False, highlight=False, emoji=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of anything that can be shown, each character of their text one that can be seen."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable(text, lines=True), style, control)
