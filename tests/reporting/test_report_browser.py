"""The report in a real browser: it sorts, filters, shows and plays, in light and dark, on a phone, with no network."""

import json
import time

import pytest

from mlbench.reporting.report.build import write_report
from tests import made_up_runs

pytestmark = pytest.mark.browser
WATCHED = "window.faults = []; addEventListener('error', (fault) => faults.push(String(fault.message)), true);"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The address of a report on made-up runs of every family, with an interrupted one."""
    folder = tmp_path_factory.mktemp("results")
    made_up_runs.make(folder, 80)
    next(folder.rglob("summary.json")).unlink()
    return write_report(folder, folder / "report").as_uri()


@pytest.fixture(scope="module", autouse=True)
def watched(browser):
    """From now on pages remember what goes wrong in them."""
    browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCHED})


@pytest.fixture
def shown(browser, page):
    """The page, fresh, on a desktop in light colours."""
    see(browser, page, 1200, "light")
    return browser


def see(browser, page, width, scheme):
    """Open the page in a window of this width, for someone who likes `scheme`."""
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    media = {"media": "", "features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(page)
    browser.execute_script("localStorage.clear()")
    browser.get(page)


def until(browser, script):
    """Wait until the script is true."""
    end = time.monotonic() + 20
    while not browser.execute_script(f"return {script}"):
        assert time.monotonic() < end, f"never true: {script}"
        time.sleep(0.05)


def cells(browser, column):
    """The texts of a column of the table of runs, hidden rows left out."""
    rows = "[...document.querySelectorAll('#all-runs tbody tr')].filter((row) => row.offsetParent)"
    return browser.execute_script(f"return {rows}.map((row) => row.cells[{column}].textContent.trim())")


def column(browser, title):
    """The number of a column of the table of runs."""
    heads = "[...document.querySelectorAll('#all-runs th')].map((head) => head.textContent.trim())"
    return browser.execute_script(f"return {heads}").index(title)


def click(browser, selector):
    browser.execute_script("document.querySelector(arguments[0]).click()", selector)


def background(browser):
    return browser.execute_script("return getComputedStyle(document.body).backgroundColor")


def test_nothing_goes_wrong_and_nothing_is_fetched(shown):
    until(shown, "document.readyState === 'complete'")
    assert shown.execute_script("return faults") == []
    assert [line for line in shown.get_log("browser") if line["level"] != "DEBUG"] == []
    events = [json.loads(line["message"])["message"] for line in shown.get_log("performance")]
    sent = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert sent
    assert {url.partition(":")[0] for url in sent} <= {"file", "data"}


def test_a_click_on_a_title_sorts_and_a_second_one_turns_it(shown):
    place = column(shown, "average accuracy")
    head = f"#all-runs th:nth-child({place + 1}) button"
    click(shown, head)
    there = [float(text) for text in cells(shown, place) if text]
    assert there == sorted(there)
    assert len(set(there)) > 2
    assert cells(shown, place)[len(there) :] == [""] * (80 - 1 - len(there))  # what has no such number comes last
    click(shown, head)
    assert [float(text) for text in cells(shown, place) if text] == there[::-1]
    click(shown, "#all-runs th:nth-child(1) button")
    names = cells(shown, 0)
    assert names.index("gem") > names.index("cluster target=1")


def test_numbers_in_names_are_sorted_as_numbers(shown):
    click(shown, "#all-runs th:nth-child(1) button")
    widths = [int(name.partition("width=")[2]) for name in cells(shown, 0) if "width=" in name]
    assert widths == sorted(widths)


def test_words_and_choices_filter_rows_and_hide_empty_columns(shown):
    field = "document.querySelector('#all-runs input')"
    set_to = "{0}.value = '{1}'; {0}.dispatchEvent(new Event('input', {{bubbles: true}}))"
    shown.execute_script(set_to.format(field, "PERMUTED gem"))
    found = cells(shown, 0)
    assert found
    assert all("gem" in name for name in found)
    count = shown.execute_script("return document.querySelector('#all-runs .count').textContent")
    assert count == f"{len(found)} of 79"
    shown.execute_script(set_to.format(field, ""))
    choice = f"document.querySelector('#all-runs select[data-column=\"{column(shown, 'family')}\"]')"
    shown.execute_script(set_to.format(choice, "compress"))
    assert set(cells(shown, column(shown, "family"))) == {"compress"}
    visible = "[...document.querySelectorAll('#all-runs th')].filter((head) => head.offsetParent)"
    titles = shown.execute_script(f"return {visible}.map((head) => head.textContent.trim())")
    assert "error increase" in titles
    assert "average accuracy" not in titles
    shown.execute_script(set_to.format(choice, ""))
    assert len(cells(shown, 0)) == 79


def test_every_picture_loads_and_a_click_enlarges_it(shown):
    until(shown, "[...document.images].every((image) => image.complete)")
    sizes = shown.execute_script("return [...document.images].map((image) => image.naturalWidth)")
    assert len(sizes) >= 4
    assert min(sizes) > 0
    click(shown, ".enlarge")
    assert shown.execute_script("return document.querySelector('dialog').open")
    click(shown, "dialog")
    until(shown, "!document.querySelector('dialog')")


def test_every_player_knows_its_sound(shown):
    assert shown.execute_script("return document.querySelectorAll('audio').length") >= 5
    until(shown, "[...document.querySelectorAll('audio')].every((player) => player.readyState >= 1)")
    lengths = shown.execute_script("return [...document.querySelectorAll('audio')].map((player) => player.duration)")
    assert lengths == pytest.approx([0.5] * len(lengths))


def test_light_and_dark_follow_the_reader_and_the_switch(browser, page):
    see(browser, page, 1200, "light")
    light = background(browser)
    click(browser, "#theme")
    dark = background(browser)
    assert light != dark
    browser.get(page)
    assert background(browser) == dark  # it is remembered
    see(browser, page, 1200, "dark")
    assert background(browser) == dark
    click(browser, "#theme")
    assert background(browser) == light


@pytest.mark.parametrize("width", [320, 375, 768, 1200])
def test_nothing_is_wider_than_the_screen(browser, page, width):
    see(browser, page, width, "light")
    browser.execute_script("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert browser.execute_script("return innerWidth") == width
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_wide_tables_scroll_in_their_box(browser, page):
    see(browser, page, 375, "light")
    wider = "[...document.querySelectorAll('.scroll')].filter((box) => box.scrollWidth > box.clientWidth).length"
    assert browser.execute_script(f"return {wider}") > 0


def test_printed_it_is_light_and_whole(browser, page):
    see(browser, page, 1200, "dark")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
    assert background(browser) == "rgb(255, 255, 255)"
    browser.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert browser.execute_script("return document.querySelectorAll('details:not([open])').length") == 0
    cut = "[...document.querySelectorAll('.scroll')].filter((box) => box.scrollHeight > box.clientHeight + 1).length"
    assert browser.execute_script(f"return {cut}") == 0


def test_a_setting_can_be_seen_alone(shown):
    name = "document.querySelector('.legend li')"
    shown.execute_script(f"{name}.dispatchEvent(new PointerEvent('pointerenter'))")
    lit = "document.querySelectorAll('.chart[data-lit] .series.lit').length"
    assert shown.execute_script(f"return {lit}") >= 1
    shown.execute_script(f"{name}.dispatchEvent(new PointerEvent('pointerleave'))")
    assert shown.execute_script(f"return {lit}") == 0
