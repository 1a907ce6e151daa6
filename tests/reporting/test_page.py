"""Pages that stand alone: text stays text, nothing is fetched, and what a browser makes of them."""

import base64
import hashlib
import json
import re
import wave
from html.parser import HTMLParser

import numpy as np
import pytest
from markupsafe import Markup

from mlbench.reporting.figures.canvas import canvas, save
from mlbench.reporting.html import page as pages
from mlbench.reporting.html import svg_charts
from mlbench.reporting.html.page import Cell, Column, Section
from mlbench.reporting.html.svg_charts import Series


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


def test_a_page_allows_its_own_script_and_style_and_nothing_else(tmp_path):
    parts = [
        pages.table(["a"], [[n] for n in range(9)]),
        svg_charts.chart([Series("s", [1, 2], [0, 1], [0.1, 0.1])], "x", "y"),
        svg_charts.matrix({1: [0.5]}, "m"),
    ]
    pages.write_page(tmp_path / "page.html", "T", "L", [Section("s", "S", pages.joined(parts))])
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    (policy,) = [meta["content"] for meta in Elements(text).all("meta") if "http-equiv" in meta]
    directives = dict(part.split(" ", 1) for part in policy.split("; "))
    assert directives["default-src"] == "'none'"
    for element in ("style", "script"):
        (content,) = re.findall(f"<{element}>(.*?)</{element}>", text, re.DOTALL)
        hashed = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert directives.pop(f"{element}-src") == f"'sha256-{hashed}'"
    assert set(directives.values()) == {"'none'", "data:"}
    attributes = {name for _, attrs in Elements(text).found for name in attrs}
    assert "style" not in attributes
    assert not [name for name in attributes if name.startswith("on")]


def test_no_character_of_a_page_turns_or_hides_others(tmp_path):
    pages.write_page(tmp_path / "page.html", "a\x1b[31m\udcff", "b\u202ec", [])
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert r"<h1>a\x1b[31m\udcff</h1>" in text
    assert r"b\u202ec" in text


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


@pytest.fixture
def page(tmp_path):
    """A page with a table, a picture, a sound and a wide block of code."""
    figure = canvas(3, 2)
    figure.subplots().plot([0, 1], [1, 0])
    save(figure, tmp_path / "falling_line.png")
    with wave.open(str(tmp_path / "tone.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes((9000 * np.sin(np.arange(4000) / 4)).astype(np.int16).tobytes())
    rows = [
        ["ewc", 0.61, "0.61 ± 0.02"],
        ["gem", 0.825, "0.825 ± 0.01"],
        ["joint", 1234, "1,234"],
        ["<b>er</b>", 9, ""],
        *([f"other {number}", 5000 + number, ""] for number in range(4)),  # long enough for a filter
    ]
    parts = [
        pages.table(["method", "accuracy", "said"], rows),
        pages.picture(tmp_path / "falling_line.png", "it falls"),
    ]
    wide = Markup("<pre><code>{}</code></pre>").format("mlbench -m " + "lifelong=finetune,ewc " * 30)
    sections = [
        Section("one", "One", Markup("").join(parts)),
        Section("two", "Two", pages.sounds([tmp_path / "tone.wav"]) + wide),
    ]
    return pages.write_page(tmp_path / "pages" / "index.html", "A <page>", "What & why.", sections)


def column(browser, place):
    return [row.text for row in browser.find_elements("css selector", f"tbody tr:not([hidden]) td:nth-child({place})")]


@pytest.mark.browser
def test_a_browser_sorts_filters_shows_and_plays(browser, page):
    browser.get(page.as_uri())
    assert column(browser, 1)[:4] == ["ewc", "gem", "joint", "<b>er</b>"]
    headings = browser.find_elements("css selector", "th button")
    headings[1].click()
    assert column(browser, 2)[:4] == ["0.610", "0.825", "9", "1,234"]
    headings[1].click()
    assert column(browser, 2)[4:] == ["1,234", "9", "0.825", "0.610"]
    headings[2].click()
    assert column(browser, 3)[:4] == ["0.61 ± 0.02", "0.825 ± 0.01", "1,234", ""]
    browser.find_element("css selector", "input[type=search]").send_keys("GEM .8")
    assert column(browser, 1) == ["gem"]
    assert browser.execute_script("return Array.from(document.images, image => image.naturalWidth)") == [390]
    seconds = "const done = arguments[0], wait = () => { const d = document.querySelector('audio').duration;"
    seconds += " Number.isNaN(d) ? setTimeout(wait, 20) : done(d) }; wait()"
    assert browser.execute_async_script(seconds) == pytest.approx(0.5)
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = {event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"}
    assert all(url.startswith(("file:", "data:")) for url in asked)


@pytest.mark.browser
def test_a_phone_scrolls_no_page_sideways_and_the_switch_makes_dark(browser, page):
    size = {"width": 375, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(page.as_uri())
    width, window = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert width <= window == 375
    ground = "return getComputedStyle(document.body).backgroundColor"
    light = browser.execute_script(ground)
    browser.find_element("id", "theme").click()
    dark = browser.execute_script(ground)
    assert sum(map(int, re.findall(r"\d+", dark))) < 150 < 600 < sum(map(int, re.findall(r"\d+", light)))
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(page.as_uri())
    assert browser.execute_script(ground) == dark
