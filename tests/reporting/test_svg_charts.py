"""Charts: points stand where their numbers say, axes have round numbers, words do not lie on one another."""

import re
from xml.etree import ElementTree

import pytest

from mlbench.reporting.html.axes import Scale, log_ticks, round_ticks, texts
from mlbench.reporting.html.svg_charts import Frame, Series, chart, matrix, strip


def circles(text):
    """Places of the points of a chart, without its legend."""
    drawing = text[text.index("<svg") : text.index("</svg>") + 6]
    root = ElementTree.fromstring(str(drawing))
    return [(float(one.get("cx")), float(one.get("cy"))) for one in root.iter("circle")]


@pytest.mark.parametrize(
    ("low", "high", "count", "ticks"),
    [
        (0, 1, 5, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.52, 0.97, 5, [0.6, 0.7, 0.8, 0.9]),
        (-3, 12, 5, [0, 5, 10]),
        (990, 1010, 4, [990, 995, 1000, 1005, 1010]),
    ],
)
def test_ticks_are_round_and_inside(low, high, count, ticks):
    assert round_ticks(low, high, count) == pytest.approx(ticks)


def test_whole_ticks():
    assert round_ticks(0.8, 4.2, 7, whole=True) == [1, 2, 3, 4]
    assert round_ticks(0.9, 20.4, 6, whole=True) == [5, 10, 15, 20]


def test_ticks_of_powers():
    assert log_ticks(800, 2_000_000) == [1e3, 1e4, 1e5, 1e6]
    assert log_ticks(3000, 90_000) == [3e3, 1e4, 3e4]
    assert all(3 <= len(log_ticks(low, 5.5 * low)) <= 6 for low in (0.011, 1.7, 230, 9999))


def test_ticks_have_different_labels():
    assert texts([0, 0.25, 0.5]) == ["0", "0.25", "0.5"]
    assert texts([0.0171, 0.01715, 0.0172]) == ["0.0171", "0.01715", "0.0172"]
    assert texts([1000, 15_000, 2_000_000]) == ["1k", "15k", "2M"]


def test_scales():
    assert Scale(0, 10, 100, 200)(2.5) == 125
    assert Scale(0, 10, 200, 100)(2.5) == 175
    assert Scale(1, 100, 0, 100, log=True)(10) == 50
    assert Scale(0, 10, 100, 200)(99) == 200
    assert Scale(1, 100, 0, 100, log=True)(-5) == 0
    assert Scale(3, 3, 0, 100)(3) == 50


def test_points_stand_where_their_numbers_say():
    places = circles(chart([Series("a", [1, 2, 3], [0.2, 0.6, 0.4])], "x", "y"))
    (left, low), (middle, high), (right, between) = places
    assert Frame.left < left < right < Frame.right
    assert middle == pytest.approx((left + right) / 2, abs=0.11)
    assert Frame.top < high < between < low < Frame.bottom
    assert between == pytest.approx((low + high) / 2, abs=0.11)


@pytest.mark.parametrize("costs", [[1, 2, 3], [1, 10, 100]])
def test_costs_far_apart_are_logarithmic(costs):
    first, second, third = [x for x, _ in circles(chart([Series("a", costs, [1, 2, 3])], "x", "y", costs=True))]
    assert second - first == pytest.approx(third - second, abs=0.11)


def test_an_interval_without_measure_does_not_flatten_the_chart():
    (_, low), (_, high) = circles(chart([Series("a", [1, 2], [0.4, 0.5], half=[50, 60])], "x", "y"))
    assert low - high > 0.25 * (Frame.bottom - Frame.top)


def test_words_that_would_lie_on_others_are_left_away():
    text = chart([Series("a", [1, 1, 9], [1, 1, 2], words=["first", "second", "third"], joined=False)], "x", "y")
    assert re.findall(r'class="word"[^>]*>(\w+)<', text) == ["first"]  # the third would not fit
    assert "<title>a: 1.000</title>" in text


def test_names_are_escaped_and_listed_only_when_there_are_several():
    one, other = Series("<b>", [1, 2], [1, 2]), Series("c", [1, 2], [2, 1])
    assert "legend" not in chart([one], "x", "y")
    text = chart([one, other], "x", "y")
    assert "<b>" not in text
    assert text.count("<li") == 2


def test_a_single_point_and_nothing_at_all():
    assert len(circles(chart([Series("a", [5], [0.5])], "x", "y"))) == 1
    assert not circles(chart([], "x", "y"))


def test_a_matrix_has_its_numbers_in_per_cent():
    root = ElementTree.fromstring(str(matrix({0: [0.1, 0.2], 1: [0.9, 0.3], 2: [0.456, 1.2]}, "R")))
    cells = [text.text for text in root.iter("text") if "cell" in text.get("class", "")]
    assert cells == ["10", "20", "90", "30", "46", "100"]
    assert [float(cell.get("fill-opacity")) for cell in root.iter("rect")] == [0.1, 0.2, 0.9, 0.3, 0.46, 1]


def test_a_strip_keeps_within_its_ends():
    root = ElementTree.fromstring(str(strip([0.0, 1.0], 0.5, 99.0, 0.0, 1.0)))
    assert [float(one.get("cx")) for one in root.iter("circle")] == [4, 106]
    (reach,) = [one.get("d") for one in root.iter("path") if one.get("class") == "reach"]
    assert [float(end) for end in re.fullmatch(r"M(.+) 6H(.+)", reach).groups()] == [4, 106]
