"""Small charts as SVG that follow the colours of the page they stand in, light or dark; see page.py. No torch.

chart([Series("gem", [1, 2, 3], [0.9, 0.85, 0.8], half=[0.02, 0.02, 0.03])], "tasks learned", "accuracy")
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from mlbench.reporting.html.axes import Scale, span, wants_log
from mlbench.reporting.html.page import TEMPLATES

COLOURS = 8  # later series repeat them with other dashes
DASHES = ("", "6 2.5", "2 2", "8 2 2 2")
SHAPES = TEMPLATES.get_template("charts.html").module
NUMBERS_UP_TO = 12  # columns of a matrix that still have room for numbers
STRIP = 110  # pixels


@dataclass
class Frame:
    """The size of a chart and where its axes lie, in units of the drawing: about pixels."""

    width: int = 360
    height: int = 244
    left: int = 38
    right: int = 352
    top: int = 22
    bottom: int = 206


@dataclass
class Series:
    """A line or a set of points in a chart; all sequences have the length n of `x`, or are empty.

    Args:
        name: its name in the legend.
        x: positions on the horizontal axis [n].
        y: values [n].
        half: half the intervals of `y` [n]: a band for a line, bars for points.
        x_half: half the intervals of `x` [n].
        notes: texts that appear when the pointer rests on a point [n].
        words: texts beside the points [n].
        joined: whether a line joins the points.
        steps: whether that line consists of steps.
        dots: whether the points are drawn.
        dashed: whether the line is dashed.
        diamond: whether the first point is a diamond.
        colour: its number in the palette; None takes its place among the series.
        listed: whether the legend names it.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    half: Sequence[float | None] = ()
    x_half: Sequence[float | None] = ()
    notes: Sequence[str] = ()
    words: Sequence[str] = ()
    joined: bool = True
    steps: bool = False
    dots: bool = True
    dashed: bool = False
    diamond: bool = False
    colour: int | None = None
    listed: bool = True


@dataclass
class Shape:
    """A series as the template draws it."""

    name: str
    key: int
    colour: int
    dashed: bool
    dashes: str
    band: str = ""
    line: str = ""
    bars: str = ""
    radius: float = 3.2
    dots: list[tuple[float, float, str, str, bool]] = field(default_factory=list)


def chart(
    series: Sequence[Series],
    x_title: str,
    y_title: str,
    whole: bool = False,
    within: tuple[float, float] | None = None,
    costs: bool = False,
) -> Markup:
    """Draw lines or points with axes and, for more than one series, a legend.

    Args:
        series: what is drawn; series without points are left out.
        x_title: the title of the horizontal axis.
        y_title: the title of the vertical axis.
        whole: whether x takes whole numbers only.
        within: the range that y cannot leave; None for any.
        costs: whether x is logarithmic where its values lie far apart.

    Returns:
        An SVG element.
    """
    series = [one for one in series if len(one.x)]
    frame, (x, y) = Frame(), scales(series, Frame(), within, costs)
    shapes = [shape_of(one, number, x, y) for number, one in enumerate(series)]
    thin_out(shapes)
    legend = [shape for shape, one in zip(shapes, series, strict=True) if one.listed]
    return Markup(
        SHAPES.chart(
            shapes, frame, x_title, y_title, x.ticks(6, whole), y.ticks(5), legend if len(legend) > 1 else [],
            f"{y_title} over {x_title}",
        )
    )  # fmt: skip


def scales(
    series: Sequence[Series], frame: Frame, within: tuple[float, float] | None, costs: bool
) -> tuple[Scale, Scale]:
    """Axes that hold everything, intervals included (within `within`)."""
    across = [value for one in series for value in one.x] or [0, 1]
    upwards = shown_range(series)
    log = costs and wants_log(across)
    low, high = (min(across) / 1.3, max(across) * 1.3) if log else span(across, 0.04)
    if within:
        upwards = [min(max(value, within[0]), within[1]) for value in upwards]
        within = (within[0] - 0.02, within[1] + 0.02)
    return Scale(low, high, frame.left, frame.right, log), Scale(*span(upwards, 0.06, within), frame.bottom, frame.top)


def shown_range(series: Sequence[Series]) -> list[float]:
    """The ends of the intervals, but no further from the values than these are from one another: two seeds may have
    an interval in which nothing else could be seen."""
    values = [value for one in series for value in one.y] or [0, 1]
    low, high = min(values), max(values)
    room = (high - low) or 0.1 * abs(high) or 0.1
    ends = [end for one in series for end in interval_ends(one.y, one.half)]
    return [*values, *(min(max(end, low - room), high + room) for end in ends)]


def interval_ends(values: Sequence[float], halves: Sequence[float | None]) -> list[float]:
    """Both ends of each interval."""
    halves = halves or [None] * len(values)
    return [value + sign * (half or 0) for value, half in zip(values, halves, strict=True) for sign in (-1, 1)]


def shape_of(one: Series, number: int, x: Scale, y: Scale) -> Shape:
    """The paths of a series."""
    colour = number if one.colour is None else one.colour
    dashes = "5 4" if one.dashed else DASHES[colour // COLOURS % len(DASHES)]
    shape = Shape(one.name, colour, colour % COLOURS, one.dashed, dashes)
    places = [(x(across), y(up)) for across, up in zip(one.x, one.y, strict=True)]
    if one.joined and len(places) > 1:
        shape.line = path(places, one.steps)
        ends = interval_ends(one.y, one.half)
        upper = [(across, y(end)) for (across, _), end in zip(places, ends[1::2], strict=True)]
        lower = [(across, y(end)) for (across, _), end in zip(places, ends[::2], strict=True)]
        shape.band = path([*upper, *lower[::-1]]) + "Z" if any(one.half) else ""
    else:
        shape.bars = " ".join(bars(one, x, y))
    if one.dots:
        notes, words = one.notes or [""] * len(places), one.words or [""] * len(places)
        for index, ((across, up), note, word) in enumerate(zip(places, notes, words, strict=True)):
            shape.dots.append((across, up, note or f"{one.name}: {one.y[index]:.3f}", word, one.diamond and index == 0))
    shape.radius = 4 if not one.joined else 3.2 if len(places) < 12 else 2
    return shape


def thin_out(shapes: Sequence[Shape]) -> None:
    """Take away the words that would lie on others."""
    taken: list[tuple[float, float, float]] = []
    for shape in shapes:
        for number, (x, y, note, word, first) in enumerate(shape.dots):
            end = x + 6 + 5.4 * len(word)
            clash = any(abs(y - other) < 11 and x < stop and end > start for start, stop, other in taken)
            if word and (clash or end > Frame.width):
                shape.dots[number] = (x, y, note, "", first)
            elif word:
                taken.append((x, end, y))


def bars(one: Series, x: Scale, y: Scale) -> list[str]:
    """A line through each point as long as its interval, upwards and across."""
    strokes = []
    for across, up, half in zip(one.x, one.y, one.half or [None] * len(one.x), strict=True):
        if half:
            strokes.append(f"M{x(across)} {y(up - half)}V{y(up + half)}")
    for across, up, half in zip(one.x, one.y, one.x_half or [None] * len(one.x), strict=True):
        if half:
            strokes.append(f"M{x(across - half)} {y(up)}H{x(across + half)}")
    return strokes


def path(places: Sequence[tuple[float, float]], steps: bool = False) -> str:
    """A line through places, or in steps: to the right, then up or down."""
    (x, y), *rest = places
    return f"M{x} {y}" + "".join(f"H{x}V{y}" if steps else f"L{x} {y}" for x, y in rest)


def matrix(rows: dict[int, Sequence[float]], label: str) -> Markup:
    """Shares between 0 and 1 as a heat map, numbers in per cent where there is room: tasks learned -> row."""
    columns = max(map(len, rows.values()))
    cell = 320 / max(columns, 4)
    clipped = [(learned, [min(max(value, 0), 1) for value in row]) for learned, row in rows.items()]
    return Markup(SHAPES.matrix(columns, clipped, min(cell, 44), columns <= NUMBERS_UP_TO, label))


def strip(values: Sequence[float], mean: float, half: float | None, low: float, high: float) -> Markup:
    """A small line from `low` to `high`: a dot for each value, their mean, and its interval."""
    place = Scale(low, high, 4, STRIP - 4)
    reach = (place(mean - half), place(mean + half)) if half is not None else None
    return Markup(SHAPES.strip(sorted({place(value) for value in values}), reach, place(mean), STRIP))
