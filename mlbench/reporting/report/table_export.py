"""The report's tables as files: csv with every digit, markdown and LaTeX as people read them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlbench.core.atomic_io import write_text
from mlbench.core.csv_files import write_csv
from mlbench.core.plain_text import printable
from mlbench.core.statistics import Spread
from mlbench.reporting.html.page import readable

LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$"}
LATEX |= {sign: f"\\{sign}" for sign in "&%$#_{}"}
LATEX |= {sign: f"{{{sign}}}" for sign in "[]*"}  # after the end of a row these would be an argument of it
IN_LATEX = str.maketrans(LATEX)
IN_MARKDOWN = str.maketrans({sign: f"\\{sign}" for sign in "\\`*[]<>|~&"})


@dataclass
class Sheet:
    """A table for people: under a title, cells that are text, numbers, spreads or None."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


def write_table(folder: Path, name: str, header: list[str], rows: list[list[object]], sheets: list[Sheet]) -> None:
    """<name>.csv of the header and rows, <name>.md and <name>.tex of the sheets. Raises RunError."""
    write_csv(folder / f"{name}.csv", header, rows)
    write_text(folder / f"{name}.md", "\n".join(map(markdown, sheets)))
    write_text(folder / f"{name}.tex", "\n".join(map(latex, sheets)))


def cell_text(value: object) -> str:
    """A cell as text: mean ± half the interval, numbers with the digits that matter."""
    match value:
        case None:
            return ""
        case Spread(mean=mean, half=half) if abs(mean) >= 1000:
            return f"{mean:,.0f}" if half is None else f"{mean:,.0f} ± {half:,.0f}"
        case Spread(mean=mean, half=half) if abs(mean) >= 100:
            return f"{mean:.1f}" if half is None else f"{mean:.1f} ± {half:.1f}"
        case Spread():
            return str(value)
        case int() | float():
            return readable(value)
    return printable(str(value))


def is_number(rows: Iterable[Sequence[object]], column: int) -> bool:
    """Whether a column holds numbers, which stand to the right."""
    cells = [row[column] for row in rows if row[column] is not None]
    return bool(cells) and all(isinstance(cell, Spread | int | float) for cell in cells)


def markdown(sheet: Sheet) -> str:
    """A heading and a table."""
    columns, *cells = [[escape_markdown(cell_text(cell)) for cell in row] for row in [sheet.columns, *sheet.rows]]
    rules = ["---:" if is_number(sheet.rows, number) else "---" for number in range(len(sheet.columns))]
    lines = [f"| {' | '.join(row)} |" for row in [columns, rules, *cells]]
    return "\n".join([f"### {escape_markdown(printable(sheet.title))}", "", *lines, ""])


def latex(sheet: Sheet) -> str:
    """A comment and a tabular that needs no packages."""
    places = "".join("r" if is_number(sheet.rows, number) else "l" for number in range(len(sheet.columns)))
    lines = [
        " & ".join(escape_latex(cell_text(cell)) for cell in row) + r" \\" for row in [list(sheet.columns), *sheet.rows]
    ]
    head, *body = lines
    inside = [head, r"\hline", *body]
    title = escape_latex(printable(sheet.title))  # a line break would end the comment
    return "\n".join([f"% {title}", rf"\begin{{tabular}}{{{places}}}", *inside, r"\end{tabular}", ""])


def escape_markdown(text: str) -> str:
    """Text in which Markdown finds no links, tags, code or ends of cells."""
    return text.translate(IN_MARKDOWN)


def escape_latex(text: str) -> str:
    """Text in which LaTeX finds no commands."""
    return text.translate(IN_LATEX)
