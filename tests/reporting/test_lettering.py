"""Names of every kind in figures: they are drawn as they are written, and never end a run."""

import logging

import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from mlbench.core.csv_files import write_csv
from mlbench.reporting.figures import bars, canvas, classification, clouds, comparisons, grids, lettering
from mlbench.runs.results import Bars, Cloud, Panel

NAMES = [r"$\frac$", "$^$", "$a_b", "$"]
NAMES += ["$x$ and $y", r"\frac{1}{2}", "_hidden", "[red]b[/red]", "猫", "مرحبا", "🙂", "a\nb", "", "long " * 60]


@pytest.fixture
def drawn(monkeypatch):
    """The texts of each figure, as they stood when it was written."""
    texts = []
    draw = Figure.draw

    def draw_and_read(figure, renderer):
        draw(figure, renderer)
        texts.extend(text.get_text() for text in figure.findobj(Text))

    monkeypatch.setattr(Figure, "draw", draw_and_read)
    return texts


def draw_all(names, folder):
    """Every figure that names from data come into."""
    points = [[float(place), 0.0] for place in range(len(names))]
    cloud = Cloud(names[0], points=np.array(points), labels=np.arange(len(names)), names=names)
    clouds.draw_clouds([[cloud]], folder / "clouds.png")
    bars.draw_bars([Bars(names[0], names, [float(place) for place in range(len(names))])], folder / "bars.png")
    counts = [[name, *np.eye(len(names), dtype=int)[place].tolist()] for place, name in enumerate(names)]
    write_csv(folder / "confusion.csv", ["class", *(f"answer {name}" for name in names)], counts)
    classification.draw_confusion(folder / "confusion.csv", folder / "confusion.png")
    grids.draw_grid([(names[0], [Panel(names[0], map=np.eye(len(names)), classes=names)])], folder / "grid.png")


@pytest.mark.parametrize("name", NAMES)
def test_a_name_never_ends_a_run_and_no_warning_of_matplotlib_comes_through(name, tmp_path):
    draw_all([name, "other"], tmp_path)
    assert all(imread(tmp_path / f"{figure}.png").size for figure in ("clouds", "bars", "grid", "confusion"))


@pytest.mark.parametrize("name", ["$a_b", "$x$ and $y", "_hidden", "[red]b[/red]", "naïve ß λ"])
def test_names_that_can_be_drawn_stand_in_every_figure(name, tmp_path, drawn):
    draw_all([name, "other"], tmp_path)
    assert sum(text.strip() == name for text in drawn) >= 10  # titles, and the names of four figures


def test_dollars_are_drawn_as_dollars(tmp_path):
    """Two dollars would take the letters between them for mathematics: in italics, without the dollars."""
    widths = []
    for text in ("$x$", "xx"):
        figure = canvas.canvas(2, 1)
        shown = figure.text(0.1, 0.5, text)
        canvas.save(figure, tmp_path / "text.png")
        widths.append(shown.get_window_extent().width)
    figure = canvas.canvas(2, 1)
    assert widths[0] > figure.text(0.1, 0.5, "$x$").get_window_extent().width * 1.5
    assert widths[0] > widths[1]


def test_powers_of_ten_stay_powers(tmp_path, drawn):
    figure = canvas.canvas(3, 2)
    axes = figure.subplots()
    axes.plot([1, 1000], [0, 1])
    axes.set_xscale("log")
    canvas.save(figure, tmp_path / "log.png")
    powers = [text for text in axes.xaxis.get_ticklabels() if "10^" in text.get_text()]
    assert powers
    assert all(text.get_parse_math() for text in powers)


def test_letters_that_no_font_has_are_told_once_and_numbered(tmp_path, drawn, capsys, monkeypatch):
    monkeypatch.setattr(lettering, "regular_fonts", lambda: [])
    lettering.families.cache_clear()
    lettering.warn.cache_clear()
    draw_all(["猫", "other"], tmp_path)
    lettering.families.cache_clear()
    assert {"class 0", "feature 0", "<732B>"} <= {text.strip() for text in drawn}
    assert "猫" not in "".join(drawn)
    assert capsys.readouterr().err.splitlines() == [
        "no installed font has 猫: figures show numbers instead; a font such as Noto Sans CJK brings them"
    ]


def test_a_font_that_has_the_letters_is_taken(tmp_path, drawn):
    """Of matplotlib's own fonts, one that is not the default one has the letter."""
    letter = next(
        chr(code)
        for name, file in lettering.regular_fonts()
        for code in sorted(lettering.coverage(file))
        if code > 0x2000 and chr(code).isprintable() and code not in lettering.coverage(lettering.file_of("sans-serif"))
    )
    assert lettering.drawable([letter], "class") == [letter]
    figure = canvas.canvas(2, 1)
    shown = figure.text(0.1, 0.5, letter)
    canvas.save(figure, tmp_path / "letter.png")
    assert letter in drawn
    assert len(shown.get_fontfamily()) == 2


def test_a_setting_whose_name_begins_with_an_underscore_stands_in_the_legend(tmp_path, drawn):
    table = tmp_path / "comparison.csv"
    rows = [f"{name},{number},average_accuracy,0.5,,1" for name in ("_a", "$b") for number in (1, 2)]
    table.write_text("\n".join(["setting,tasks_learned,metric,mean,half_interval,runs", *rows]), encoding="utf-8")
    comparisons.draw_curves(table, tmp_path / "curves.png", ordered=False)
    assert {"_a", "$b"} <= {text.strip() for text in drawn}


def test_long_names_are_shortened_in_the_middle(tmp_path, drawn):
    draw_all(["begin" + "x" * 300 + "end", "other"], tmp_path)
    assert max(map(len, drawn)) <= lettering.TEXT
    assert sum(text.strip().startswith("begin") and text.endswith("end") for text in drawn) >= 10


def test_nothing_is_said_of_the_weights_of_fonts(caplog, monkeypatch):
    find, logger = font_manager.findfont, logging.getLogger("matplotlib.font_manager")

    def find_and_tell(*given):
        logger.warning("Failed to find font weight normal for A Font, now using 380.")
        return find(*given)

    monkeypatch.setattr(font_manager, "findfont", find_and_tell)
    assert lettering.file_of.__wrapped__("sans-serif").endswith("DejaVuSans.ttf")
    assert caplog.records == []
