"""One self-contained HTML page: the shell and its parts, for whatever has results to show. No torch, no network.

A page is a title, a lead and sections; a section is HTML made by the functions here, which escape what they are given:
text stays text, and only `Markup` (what these functions return) goes in as it is. Pictures and sounds are embedded.

    page = [Section("runs", "Runs", table([Column("name"), Column("accuracy", number=True)], [["gem", 0.82]]))]
    write_page(Path("page.html"), "Results", "What came out.", page)
"""

import base64
import hashlib
import mimetypes
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from mlbench import __version__
from mlbench.core.atomic_io import write_whole
from mlbench.core.plain_text import printable

TOOLS_FROM = 8  # rows from which a table has a filter
TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).resolve().parent / "templates"), autoescape=True, trim_blocks=True
)
PARTS = TEMPLATES.get_template("parts.html").module
STYLE, SCRIPT = (Markup(TEMPLATES.get_template(name).render()) for name in ("page.css", "page.js"))


@dataclass
class Section:
    """A part of the page with a heading and a link in the bar on top; `id` is its anchor, unique on the page."""

    id: str
    title: str
    html: Markup
    lead: str | Markup = ""


@dataclass
class Column:
    """A column's title; numbers stand to the right; a `choice` of few values can be picked above the table."""

    title: str
    number: bool = False
    choice: bool = False
    hint: str = ""  # shown when the pointer rests on the title


@dataclass
class Cell:
    """What a cell shows, and the number it is sorted by where that is another one (None: by its text)."""

    shown: str | Markup
    sort: float | None = None


def write_page(
    path: Path, title: str, lead: str | Markup, sections: Sequence[Section], foot: str = "", language: str = "en"
) -> Path:
    """Write the page, whole or not at all, and give back its path. Raises RunError when it cannot be written."""
    pieces = TEMPLATES.get_template("page.html").generate(
        title=title, lead=lead, sections=sections, foot=foot, language=language, version=__version__,
        style=STYLE, script=SCRIPT, policy=POLICY,
    )  # fmt: skip
    # one after the other: a page with its pictures is large
    write_whole(path, lambda stream: stream.writelines(printable(piece, lines=True).encode() for piece in pieces))
    return path


def digest(content: Markup) -> str:
    """What the policy of a page calls the content of one of its own elements (Content Security Policy 3, hashes)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


POLICY = "; ".join(  # nothing is fetched, sent or run but the page's own style and script
    (
        "default-src 'none'", "base-uri 'none'", "form-action 'none'", "img-src data:", "media-src data:",
        f"style-src {digest(STYLE)}", f"script-src {digest(SCRIPT)}",
    )
)  # fmt: skip


def table(
    columns: Sequence[Column | str], rows: Iterable[Sequence[object]], caption: str | Markup = "", name: str = ""
) -> Markup:
    """A table that sorts by a click on a title, with a filter when it is long; it scrolls in its own box.

    Cells are text, Markup, numbers, None (empty) or `Cell`. A column whose texts all begin with a number is sorted by
    these. `name` becomes the id of the box.
    """
    columns = [Column(one) if isinstance(one, str) else one for one in columns]
    filled = [[as_cell(cell) for cell in row] for row in rows]
    choices = []
    for number, column in enumerate(columns):
        values = sorted({str(row[number].shown) for row in filled} - {""})
        if column.choice and len(values) > 1:
            choices.append((number, column.title, values))
    return Markup(PARTS.table(columns, filled, caption, name, len(filled) >= TOOLS_FROM, choices))


def as_cell(value: object) -> Cell:
    """Text and Markup as they are, numbers as people read them and sorted by their value."""
    match value:
        case Cell():
            return value
        case None:
            return Cell("")
        case bool():
            return Cell("yes" if value else "no")
        case int() | float():
            return Cell(readable(value), float(value))
        case Markup():
            return Cell(value)
    return Cell(str(value))


def readable(value: float) -> str:
    """A number with thousands apart, or about four digits that matter."""
    if isinstance(value, int) or (abs(value) >= 1000 and value == value):
        return f"{value:,.0f}"
    if value == 0 or 0.001 <= abs(value) < 1:
        return f"{value:.3f}"
    return f"{value:.4g}"


def data_uri(path: Path) -> str:
    """A file as a data URI. Raises OSError when it cannot be read."""
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    kind = {"audio/x-wav": "audio/wav"}.get(kind, kind)
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def picture(path: Path, caption: str | Markup = "", alt: str = "", wide: bool = False) -> Markup:
    """An embedded PNG, SVG or JPEG file with its caption, which a click enlarges; `wide` takes two places of a grid.

    Where it cannot be seen, `alt` stands for it, else its caption, else its name.
    """
    alt = alt or str(caption) or path.stem.replace("_", " ")
    return figure(PARTS.image(data_uri(path), alt, png_size(path)), caption, wide)


def png_size(path: Path) -> tuple[int, int] | None:
    """Width and height of a PNG file in pixels; None for other files. Raises OSError."""
    with path.open("rb") as file:
        head = file.read(24)
    if len(head) < 24 or not head.startswith(b"\x89PNG"):
        return None
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")


def figure(content: Markup, caption: str | Markup = "", wide: bool = False) -> Markup:
    """Any content (a drawing of reporting/charts.py, say) in a card with its caption."""
    return Markup(PARTS.figure(content, caption, wide))


def sound(path: Path, caption: str | Markup) -> Markup:
    """A player for an embedded wav file."""
    return Markup(PARTS.player(data_uri(path), caption))


def sounds(paths: Iterable[Path]) -> Markup:
    """Players of wav files under their names, beside one another; nothing where there are none."""
    cards = [sound(path, path.stem.replace("_", " ")) for path in paths]
    return grid(cards) if cards else Markup("")


def players(title: str | Markup, named: Iterable[tuple[str, Path]]) -> Markup:
    """Several players in one card: what each plays, and its file."""
    return Markup(PARTS.players([(what, data_uri(path)) for what, path in named], title))


def grid(items: Iterable[Markup]) -> Markup:
    """Figures beside one another, as many in a row as there is room for: one on a phone."""
    return Markup(PARTS.grid(list(items)))


def folded(summary: str | Markup, content: Markup, is_open: bool = False) -> Markup:
    """Content that opens by a click on its summary."""
    return Markup(PARTS.folded(summary, content, is_open))


def heading(text: str | Markup, name: str = "") -> Markup:
    """A heading inside a section; `name` is its anchor."""
    return Markup(PARTS.heading(text, name))


def paragraph(text: str | Markup) -> Markup:
    """A paragraph."""
    return Markup(PARTS.paragraph(text))


def notes(lines: Iterable[str | Markup]) -> Markup:
    """A list of remarks, a line each."""
    return Markup(PARTS.notes(list(lines)))


def facts(pairs: Iterable[tuple[object, str]]) -> Markup:
    """Large numbers with what they count: (value, name)."""
    return Markup(PARTS.facts([(as_cell(value).shown, name) for value, name in pairs]))


def badge(text: str | Markup, kind: str) -> Markup:
    """A word in a pill; `kind` is good, bad or open."""
    return Markup('<span class="badge {}">{}</span>').format(kind, text)


def joined(parts: Iterable[Markup]) -> Markup:
    """Parts one after another."""
    return Markup("\n").join(parts)
