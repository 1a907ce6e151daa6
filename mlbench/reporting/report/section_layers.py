"""The part of the report on what layers know: probes, inversions and neighbours, layer by layer."""

import re
from collections import defaultdict
from functools import partial

from mlbench.reporting.html import page, svg_charts
from mlbench.reporting.html.page import Section
from mlbench.reporting.html.svg_charts import Series
from mlbench.reporting.report.drawing import drawn
from mlbench.reporting.report.grouping import Comparison, Setting
from mlbench.reporting.report.run_records import Records
from mlbench.runs import layout

CHARTS = 24  # of one comparison
LINES = 10  # in one chart
NAMED = re.compile(r"(?:(?P<probe>.+)_)?layer_(?P<layer>[0-9]{1,6})_(?P<untrained>untrained_)?(?P<what>.+)")
LAYER = re.compile(r"[0-9]{1,6}")
TABLES = (layout.LAYERS, layout.PROBES)  # that name the layers
LEAD = (
    "Mean over seeds, bands are 95 % intervals; dashed is the same network before it was trained. A probe says little "
    "of a layer where it learns an arbitrary control task as well: selectivity is accuracy minus that."
)
LayerMetrics = dict[str, dict[tuple[str, bool], dict[int, str]]]  # what -> (series, untrained) -> layer -> metric


def section(comparisons: list[Comparison], records: Records) -> Section | None:
    """Charts over layers of every comparison that has such metrics; None where there are none."""
    parts = []
    for comparison in comparisons:
        charts = [(one, layer_metrics(one)) for one in comparison.settings]
        charts = [(one, metrics) for one, metrics in charts if metrics]
        if charts:
            parts += [page.heading(comparison.title), drawn("what layers know", partial(block, charts, records))]
    return Section("layers", "Layer by layer", page.joined(parts), LEAD) if parts else None


def block(charts: list[tuple[Setting, LayerMetrics]], records: Records) -> page.Markup:
    """The charts of a comparison, and the names of the layers of its first setting."""
    names = list(dict.fromkeys(what for _, metrics in charts for what in metrics))
    parts = [page.grid(layer_chart(charts, what) for what in names[:CHARTS])]
    if len(names) > CHARTS:
        parts.append(page.paragraph(f"The first {CHARTS} of {len(names)} measures."))
    if paths := layer_names(charts[0][0], records):
        parts.append(page.paragraph(f"Layers: {', '.join(f'{n} is {path}' for n, path in paths.items())}."))
    return page.joined(parts)


def layer_metrics(setting: Setting) -> LayerMetrics:
    """The metrics that are of a layer."""
    metrics: LayerMetrics = defaultdict(lambda: defaultdict(dict))
    for metric in setting.spreads:
        if named := NAMED.fullmatch(metric):
            series = (named["probe"] or "").replace("_", " "), bool(named["untrained"])
            metrics[named["what"]][series][int(named["layer"])] = metric
    return metrics


def layer_chart(charts: list[tuple[Setting, LayerMetrics]], what: str) -> page.Markup:
    """One measure over the layers: a line for each setting and probe, and a dashed one for the untrained network."""
    several, series, colours = len(charts) > 1, [], {}
    for setting, metrics in charts:
        for (probe, untrained), layers in sorted(metrics.get(what, {}).items()):
            name = " ".join(filter(None, (setting.label if several or not probe else "", probe)))
            colour = colours.setdefault(name, len(colours))
            spreads = {layer: setting.spreads[layers[layer]] for layer in sorted(layers)}
            line_name = f"{name}, untrained" if untrained else name
            series.append(
                Series(
                    line_name, list(spreads), [s.mean for s in spreads.values()], [s.half for s in spreads.values()],
                    notes=[f"{line_name}: {s} in layer {layer}" for layer, s in spreads.items()],
                    dashed=untrained, colour=colour,
                )
            )  # fmt: skip
    title = what.replace("_", " ").replace("r2", "R²")
    more = f" (the first {LINES} of {len(series)} lines)" if len(series) > LINES else ""
    within = None if what in ("selectivity", "silhouette") else (0, 1)
    return page.figure(svg_charts.chart(series[:LINES], "layer", title, whole=True, within=within), f"{title}{more}")


def layer_names(setting: Setting, records: Records) -> dict[int, str]:
    """Number of a layer -> its path in the network, from the first run's tables."""
    for name in TABLES:
        rows = records.rows(setting.first, name)
        named = [(row.get("layer", ""), row.get("path")) for row in rows]
        paths = {int(layer): path for layer, path in named if LAYER.fullmatch(layer) and path}
        if paths:
            return paths
    return {}
