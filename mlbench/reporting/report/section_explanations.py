"""The part of the report on explanations: scores beside controls, curves, pictures and sounds."""

from collections import defaultdict
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from markupsafe import Markup

from mlbench.core.statistics import Spread, spread
from mlbench.reporting.aggregate import with_controls
from mlbench.reporting.html import page, svg_charts
from mlbench.reporting.html.page import Cell, Column, Section
from mlbench.reporting.html.svg_charts import Series
from mlbench.reporting.report.drawing import drawn
from mlbench.reporting.report.grouping import Comparison, Setting
from mlbench.reporting.report.media_budget import Media, choose, media
from mlbench.reporting.report.run_records import Records
from mlbench.reporting.report.table_export import cell_text
from mlbench.runs import layout
from mlbench.runs.run_record import number

LARGE = 860  # pixels
OPEN = 4  # settings of a comparison that stand open
CURVED = 16  # settings whose curves are drawn
SHARES = ("share of pixels", "share of pieces")
CHARTS = (  # table, columns that may be its x, y, title
    (layout.CURVES, SHARES, "deletion", "confidence left, strongest parts taken away first"),
    (layout.CURVES, SHARES, "insertion", "confidence, strongest parts put in first"),
    (layout.RANDOMISATION, ("layers",), "abs_rho", "likeness of sizes to the map, layers drawn anew from the top"),
)  # fmt: skip
LEAD = (
    "Scores are means over seeds beside the same scores of controls, which know nothing of the network; pictures and "
    "sounds are of the first run of each setting."
)


def section(comparisons: list[Comparison], records: Records, megabytes: float) -> Section | None:
    """A gallery for each setting that has pictures, sounds or scores of maps; None where there are none."""
    own = [one for one in comparisons if one.family in ("explain", "compress")]
    media_of = {id(one): [media(setting) for setting in one.settings] for one in own}
    left_out = choose([each for group in media_of.values() for each in group], megabytes)
    parts, curves = [], CURVED
    for comparison in own:
        cards = []
        for each in media_of[id(comparison)]:
            score_table = drawn("scores", partial(scores, each.setting))
            charts = Markup("")
            if score_table and curves > 0:
                charts = drawn("curves", partial(curve_charts, each.setting, records))
            curves -= bool(charts)
            if each.chosen or score_table:
                make = partial(gallery, each, score_table, charts, len(cards) < OPEN)
                cards.append(drawn(f"what there is of {each.setting.label}", make))
        parts += [page.heading(comparison.title), *cards] if cards else []
    if left_out:
        size = sum(path.stat().st_size for path in left_out) / 1e6
        parts.append(
            page.paragraph(
                f"{len(left_out)} pictures and sounds ({size:.0f} MB) are left out: this page embeds up to "
                f"{megabytes:g} MB of them (mlbench report ... media={2 * max(megabytes, 1):g} for more)."
            )
        )
    return Section("gallery", "Pictures and sounds", page.joined(parts), LEAD) if parts else None


def gallery(each: Media, score_table: Markup, charts: Markup, is_open: bool) -> Markup:
    """All there is to see of one setting."""
    pictures = [
        page.picture(path, name, f"{name} of {each.setting.label}", wide=is_large(path))
        for path in each.figures
        if path in each.chosen and (name := path.stem.replace("_", " "))
    ]
    players = [
        page.players(title.replace("_", " "), ((what, path) for what, path in own if path in each.chosen))
        for title, own in each.sounds.items()
        if own[0][1] in each.chosen
    ]
    content = [score_table, charts, *(page.grid(cards) for cards in (pictures, players) if cards)]
    title = Markup("<b>{}</b> <span class=soft>seed {}</span>").format(each.setting.label, each.setting.first.seed)
    return page.folded(title, page.joined(content), is_open)


def is_large(path: Path) -> bool:
    """Whether a picture needs more than one place of a grid to be read; tall ones are enlarged by a click."""
    size = page.png_size(path)
    return size is not None and size[0] > LARGE and size[0] > size[1]


def scores(setting: Setting) -> Markup:
    """The scores of a method of maps, and below them those of the controls; empty for other techniques."""
    if setting.first.kind != "maps":
        return Markup("")
    names = [name for name in setting.first.headlines if name in setting.spreads]
    rows_of = with_controls(setting.first.technique, setting.spreads, dict.fromkeys(names, ""))
    rows = [scores_row(title, names, own) for title, own in rows_of.items()]
    return page.table([Column("map"), *(Column(name.replace("_", " "), number=True) for name in names)], rows)


def scores_row(title: str, names: list[str], spreads: dict[str, Spread]) -> list[object]:
    """One row of scores."""
    return [title, *(Cell(cell_text(spreads[name]), spreads[name].mean) if name in spreads else None for name in names)]


def curve_charts(setting: Setting, records: Records) -> Markup:
    """Curves of a method (with a band) and of its controls, means over seeds."""
    tables = {name: [records.rows(run, name) for run in setting.runs.values()] for name, *_ in CHARTS}
    figures = []
    for name, places, y, title in CHARTS:
        points: dict[str, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
        for row in (row for rows in tables[name] for row in rows):
            here = next((value for place in places if (value := number(row, place)) is not None), None)
            if here is not None and (value := number(row, y)) is not None:
                points[row.get("map", "")][here].append(value)
        if points:
            x = next(place for place in places if any(place in row for rows in tables[name] for row in rows))
            whole = x == "layers"
            chart = svg_charts.chart(lines(setting.first.technique, points), x, y, whole, (-1, 1) if whole else (0, 1))
            figures.append(page.figure(chart, title))
    return page.grid(figures) if figures else Markup("")


def lines(technique: str, points: dict[str, dict[float, list[float]]]) -> Iterable[Series]:
    """The method first and with its band, then the controls."""
    for name in sorted(points, key=lambda name: name != technique):
        spreads = {x: spread(values) for x, values in sorted(points[name].items())}
        halves = [one.half for one in spreads.values()] if name == technique else ()
        means = [one.mean for one in spreads.values()]
        yield Series(name.replace("_", " "), list(spreads), means, halves, dots=len(means) < 8)
