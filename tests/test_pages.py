"""Pages that stand alone: what is written, and what a browser makes of it."""

import json
import re
import wave

import numpy as np
import pytest
from markupsafe import Markup

from mlbench.pages import Section, picture, sounds, table, write_page
from mlbench.plots import canvas, save


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
    ]
    parts = [
        table(["method", "accuracy", "said"], rows, filter=True),
        picture(tmp_path / "falling_line.png", "it falls"),
    ]
    wide = Markup("<pre><code>{}</code></pre>").format("mlbench -m " + "lifelong=finetune,ewc " * 30)
    sections = [
        Section("one", "One", Markup("").join(parts)),
        Section("two", "Two", sounds([tmp_path / "tone.wav"]) + wide),
    ]
    return write_page(tmp_path / "pages" / "index.html", "A <page>", "What & why.", sections)


def test_texts_are_escaped_and_nothing_is_fetched(page):
    text = page.read_text()
    assert "A &lt;page&gt;" in text
    assert "What &amp; why." in text
    assert "<b>er</b>" not in text
    assert not re.findall(r'(?:src|href)="(?!#|data:)', text)
    assert "url(" not in text


def column(browser, place):
    return [row.text for row in browser.find_elements("css selector", f"tbody tr:not([hidden]) td:nth-child({place})")]


@pytest.mark.browser
def test_a_browser_sorts_filters_shows_and_plays(browser, page):
    browser.get(page.as_uri())
    assert column(browser, 1) == ["ewc", "gem", "joint", "<b>er</b>"]
    headings = browser.find_elements("css selector", "th button")
    headings[1].click()
    assert column(browser, 2) == ["0.61", "0.825", "9", "1234"]
    headings[1].click()
    assert column(browser, 2) == ["1234", "9", "0.825", "0.61"]
    headings[2].click()
    assert column(browser, 3) == ["0.61 ± 0.02", "0.825 ± 0.01", "1,234", ""]
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
