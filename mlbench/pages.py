"""Pages of HTML that stand alone: style, script, pictures and sounds are inside, and nothing is fetched. No torch."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from mlbench import __version__
from mlbench.files import write_text

TEMPLATES = Path(__file__).resolve().parent / "templates"


@dataclass(frozen=True)
class Section:
    """A part of a page; `id` is what links name."""

    id: str
    title: str
    html: Markup


@cache
def environment() -> Environment:
    """Templates in which every text is escaped that is no Markup."""
    loader = FileSystemLoader(TEMPLATES)
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def write_page(path: Path, title: str, lead: str, sections: Sequence[Section]) -> Path:
    """Write a page, whole or not at all, and give back its path."""
    style, script = (Markup((TEMPLATES / name).read_text(encoding="utf-8")) for name in ("page.css", "page.js"))
    parts = {"title": title, "lead": lead, "sections": sections, "version": __version__}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, environment().get_template("page.html").render(style=style, script=script, **parts))
    return path


def table(header: Sequence[str], rows: Sequence[Sequence[object]], filter: bool = False) -> Markup:
    """A table that is sorted by a click on a heading, with a line to filter it by where that is wanted.

    Cells are texts, numbers (to the right) or Markup. What a cell begins with decides whether it is sorted as a number.
    """
    return Markup(environment().get_template("table.html").render(header=header, rows=rows, filter=filter))


def picture(path: Path, caption: str = "") -> Markup:
    """A PNG, inside the page; its name stands for it where it cannot be seen."""
    told = Markup("<figcaption>{}</figcaption>").format(caption) if caption else ""
    return Markup('<figure><img src="{}" alt="{}">{}</figure>').format(
        embedded(path, "image/png"), caption or path.stem.replace("_", " "), told
    )


def sounds(paths: Sequence[Path]) -> Markup:
    """Players of wav files, inside the page, under their names."""
    player = Markup('<figure><figcaption>{}</figcaption><audio controls preload="metadata" src="{}"></audio></figure>')
    players = [player.format(path.stem.replace("_", " "), embedded(path, "audio/wav")) for path in paths]
    return Markup('<div class="sounds">{}</div>').format(Markup("").join(players)) if players else Markup("")


def embedded(path: Path, kind: str) -> str:
    """A file as a data URI."""
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
