"""The shell of a page: text stays text, tables carry what they are sorted by, nothing is fetched from elsewhere."""

import base64
import re
from html.parser import HTMLParser

import pytest
from markupsafe import Markup

from mlbench import pages
from mlbench.pages import Cell, Column, Section


class Elements(HTMLParser):
    """All elements of a page with their attributes; raises where an element is closed that was not open."""

    VOID = {"meta", "link", "img", "input", "br", "circle", "path"}

    def __init__(self, text):
        super().__init__()
        self.found, self.open = [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def all(self, tag):
        return [attrs for name, attrs in self.found if name == tag]


def test_a_page_is_well_formed_and_points_nowhere(tmp_path):
    (tmp_path / "a.png").write_bytes(b"picture")
    (tmp_path / "a.wav").write_bytes(b"sound")
    parts = [
        pages.picture(tmp_path / "a.png", "seen"),
        pages.sound(tmp_path / "a.wav", "heard"),
        pages.folded("more", pages.notes(["one", "two"])),
        pages.facts([(1234, "runs")]),
    ]
    sections = [Section("first", "First", pages.grid(parts)), Section("second", "Second", pages.badge("holds", "good"))]
    pages.write_page(tmp_path / "deep" / "page.html", "T", "L", sections, language="zh")
    text = (tmp_path / "deep" / "page.html").read_text(encoding="utf-8")
    page = Elements(text)
    assert page.all("html") == [{"lang": "zh"}]
    assert [part["id"] for part in page.all("section")] == ["first", "second"]
    assert {"#first", "#second"} <= {link["href"] for link in page.all("a")}
    (image,), (audio,) = [image for image in page.all("img") if "src" in image], page.all("audio")
    assert base64.b64decode(image["src"].removeprefix("data:image/png;base64,")) == b"picture"
    assert base64.b64decode(audio["src"].removeprefix("data:audio/wav;base64,")) == b"sound"
    assert image["alt"] == "seen"
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", text)
    assert "1,234" in text


@pytest.mark.parametrize("place", ["title", "lead", "cell", "column", "caption", "choice", "summary", "alt"])
def test_text_stays_text(tmp_path, place):
    evil = "<script>alert('x')</script>\"'>"
    given = {name: evil if name == place else "good" for name in ("title", "lead", "caption", "summary")}
    (tmp_path / "a.png").write_bytes(b"")
    column = Column(evil if place == "column" else "name", choice=place == "choice")
    rows = [[evil if place in ("cell", "choice") else "good"], ["other"]] * 5
    content = pages.joined(
        [
            pages.folded(given["summary"], pages.table([column], rows, given["caption"])),
            pages.picture(tmp_path / "a.png", "caption", evil if place == "alt" else "alt"),
        ]
    )
    pages.write_page(tmp_path / "page.html", given["title"], given["lead"], [Section("s", "S", content)])
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert text.count("<script") == 1
    Elements(text)


def test_cells_are_sorted_by_their_numbers():
    rows = [["a", 1234.6, Cell("large", 7), None, Markup("<b>x</b>"), 0.25]]
    text = pages.table([Column(name) for name in "abcdef"], rows)
    cells = re.findall(r"<td( data-sort=\"[^\"]*\")?>(.*?)</td>", text)
    sort, shown = zip(*cells, strict=True)
    assert shown == ("a", "1,235", "large", "", "<b>x</b>", "0.250")
    assert sort == ("", ' data-sort="1234.6"', ' data-sort="7"', "", "", ' data-sort="0.25"')


def test_long_tables_have_a_filter_and_choices_of_what_is_there():
    columns = [Column("name"), Column("kind", choice=True)]
    text = pages.table(columns, [[f"run {i}", "odd" if i % 2 else "even"] for i in range(pages.TOOLS_FROM)])
    assert re.findall(r"<option>(\w+)</option>", text) == ["even", "odd"]
    assert "search" not in pages.table(columns, [["run", "odd"]])


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1234567, "1,234,567"), (0.5, "0.500"), (0, "0"), (0.0, "0.000"), (12.3456, "12.35"), (2e-05, "2e-05")],
)
def test_numbers_as_people_read_them(value, shown):
    assert pages.readable(value) == shown
