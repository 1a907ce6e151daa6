"""The table of classes that a run prints before it trains. No torch."""

from rich.table import Table
from rich.text import Text

from mlbench.core.plain_text import printable

ROWS = 12  # more are left out in the middle

Row = list[object]  # a name, training, validation and test examples


def class_table(rows: list[Row], title: str, name: str) -> Table:
    """Return a table of examples.

    Args:
        rows: A class, or a task, each.
        title: What the table shows.
        name: What a row is.
    """
    table = Table(title=Text(printable(title)), title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column(Text(printable(name)), overflow="ellipsis", max_width=40, no_wrap=True)
    for heading in ("training", "validation", "test"):
        table.add_column(heading, justify="right")
    half = ROWS // 2
    hidden = len(rows) - ROWS if len(rows) > ROWS + 1 else 0
    shown = [*rows[:half], None, *rows[-half:]] if hidden else rows
    for row in shown:
        if row is None:
            table.add_row(Text(f"... {hidden} more in class_counts.csv"))
        else:
            first, *counts = row
            table.add_row(Text(printable(str(first))), *(f"{count:,}" for count in counts))
    return table
