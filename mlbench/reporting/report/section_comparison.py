"""The part of the report where settings are compared: means with intervals, and paired tests over the seeds."""

from functools import partial

from markupsafe import Markup

from mlbench.core.statistics import spread
from mlbench.reporting.aggregate import BUDGET, budget_cell, training_seconds
from mlbench.reporting.html import page, svg_charts
from mlbench.reporting.html.axes import span
from mlbench.reporting.html.page import Cell, Column, Section
from mlbench.reporting.report.drawing import drawn
from mlbench.reporting.report.grouping import Comparison, Setting, common_settings
from mlbench.reporting.report.paired_tests import SIGNIFICANCE_LEVEL, PairedTest, too_many
from mlbench.reporting.report.table_export import Sheet, cell_text

TESTS_OPEN = 12  # so many rows of tests stand open; more are folded
TESTS_SHOWN = 400  # rows of a comparison for people; tests.csv has all
TOWARDS = {"high": "higher is better", "low": "lower is better", "": ""}
LEAD = (
    "Runs that differ only in their seed are one setting: mean ± half the 95 % confidence interval, below it each run "
    "as a dot. Bold is the best mean; ≈ marks what does not differ significantly from it in a paired t test over the "
    "shared seeds (p ≥ .05 after Holm's correction for all pairs of the table on that metric). Only settings that "
    "differ in the technique or in one thing are tested against one another."
)
TestedComparisons = list[tuple[Comparison, list[PairedTest]]]


def section(tested: TestedComparisons) -> Section:
    """All comparisons, those of several settings first."""
    blocks = [(pair[0], drawn(pair[0].title, partial(comparison_block, *pair))) for pair in tested]
    several = [block for comparison, block in blocks if len(comparison.settings) > 1]
    alone = [block for comparison, block in blocks if len(comparison.settings) == 1]
    if alone:
        title = f"{len(alone)} settings without a comparison" if len(alone) > 1 else "a setting without a comparison"
        several.append(page.folded(title, page.joined(alone), not several))
    return Section("compared", "Compared", page.joined(several), LEAD)


def comparison_block(comparison: Comparison, tests: list[PairedTest]) -> Markup:
    """The heading, the table, the tests, and what all settings have in common."""
    parts = [page.heading(comparison.title, comparison.name), overview(comparison, tests)]
    if tests:
        count = f"{len(tests)} paired tests" if len(tests) > 1 else "1 paired test"
        parts.append(page.folded(count, tests_table(comparison, tests), len(tests) <= TESTS_OPEN))
    common = [
        [name, value] for name, value in sorted(common_settings(comparison.settings).items()) if "_target_" not in name
    ]
    columns = [Column("setting"), Column("value")]
    parts.append(page.folded("what all of these have in common", page.table(columns, common)))
    return page.joined(parts)


def overview(comparison: Comparison, tests: list[PairedTest]) -> Markup:
    """A row for each setting, a column for each headline metric."""
    columns = [Column("setting"), Column("runs", number=True)]
    headlines = comparison.metrics.items()
    columns += [Column(name.replace("_", " "), number=True, hint=TOWARDS[end]) for name, end in headlines]
    budget = budget_of(comparison)
    columns += [Column(BUDGET[name], number=name != "task_told") for name in budget]
    columns.append(Column("train s", number=True, hint="mean seconds of all training, fine-tuning included"))
    marks = {name: best_marks(comparison, tests, name) for name in comparison.metrics}
    ranges = {name: reach(comparison, name) for name in comparison.metrics}
    rows = []
    for place, setting in enumerate(comparison.settings):
        times = [time for run in setting.runs.values() if (time := training_seconds(run)) is not None]
        seconds = spread(times) if times else None
        cells = [cell(setting, name, marks[name].get(place, ""), ranges[name]) for name in comparison.metrics]
        time = None if seconds is None else Cell(f"{seconds.mean:,.1f}", seconds.mean)
        paid = [Cell(text, setting.spreads[name].mean) if text else None for name, text in paid_for(setting, budget)]
        rows.append([setting.label, len(setting.runs), *cells, *paid, time])
    return page.table(columns, rows)


def budget_of(comparison: Comparison) -> list[str]:
    """What methods must share to be compared, as far as it was counted."""
    return [name for name in BUDGET if any(name in setting.spreads for setting in comparison.settings)]


def paid_for(setting: Setting, budget: list[str]) -> list[tuple[str, str]]:
    """Each name of the budget and its cell, empty where it was not counted."""
    return [(name, budget_cell(name, setting.spreads[name].mean) if name in setting.spreads else "") for name in budget]


def reach(comparison: Comparison, metric: str) -> tuple[float, float]:
    """The range that every strip of a column shows: all runs and means, not the intervals, which may be huge."""
    values = [value for setting in comparison.settings for value in setting.values(metric).values()]
    return span(values, 0.15)


def cell(setting: Setting, metric: str, mark: str, ends: tuple[float, float]) -> Cell | None:
    """Mean, interval and strip."""
    if metric not in setting.spreads:
        return None
    value = setting.spreads[metric]
    text = Markup("<b>{}</b>").format(cell_text(value)) if mark == "best" else Markup("{}").format(cell_text(value))
    if mark == "near":
        text = Markup('<span class="soft" title="not significantly different from the best">≈</span> {}').format(text)
    strip = svg_charts.strip(list(setting.values(metric).values()), value.mean, value.half, *ends)
    return Cell(text + strip, value.mean)


def best_marks(comparison: Comparison, tests: list[PairedTest], metric: str) -> dict[int, str]:
    """Place of a setting -> `best`, or `near` where a test finds no significant difference from the best."""
    means = {n: one.spreads[metric].mean for n, one in enumerate(comparison.settings) if metric in one.spreads}
    if not (end := comparison.metrics[metric]) or len(means) < 2:
        return {}
    top = (max if end == "high" else min)(means.values())
    best = [place for place, mean in means.items() if mean == top]
    if len(best) == len(means):
        return {}
    marks = dict.fromkeys(best, "best")
    for test in tests:
        if test.metric == metric and test.holm >= SIGNIFICANCE_LEVEL and {test.one, test.other} & set(best):
            for place in (test.one, test.other):
                marks.setdefault(place, "near")
    return marks


def tests_table(comparison: Comparison, tests: list[PairedTest]) -> Markup:
    """The tests of a comparison: the clearest ones, where there are very many."""
    shown = clearest(tests)
    columns = [
        Column("one"), Column("other"), Column("metric", choice=True),
        Column("difference", number=True, hint="one minus other"),
        Column("seeds", number=True), Column("p", number=True),
        Column("p, corrected", number=True, hint="Holm, over all pairs of this table on this metric"),
        Column("verdict", choice=True),
    ]  # fmt: skip
    rows = [test_row(comparison, test) for test in shown]
    caption = "Paired t tests over shared seeds, differences ± half their 95 % interval."
    if too_many(comparison):
        caption += f" Of the pairs of {len(comparison.settings)} settings only those with the first setting are tested."
    if len(shown) < len(tests):
        caption += f" The {len(shown)} with the smallest p of {len(tests)}; all are in tests.csv."
    return page.table(columns, rows, caption)


def clearest(tests: list[PairedTest]) -> list[PairedTest]:
    """Those that people look at: all, or where there are very many those with the smallest p."""
    return sorted(tests, key=lambda test: test.holm)[:TESTS_SHOWN] if len(tests) > TESTS_SHOWN else tests


def test_row(comparison: Comparison, test: PairedTest) -> list[object]:
    """A row of the table of tests."""
    names = [comparison.settings[place].label for place in (test.one, test.other)]
    gap = Cell(f"{test.difference:+.3f} ± {test.half:.3f}", test.difference)
    verdict = "no significant difference"
    if test.holm < SIGNIFICANCE_LEVEL:
        end = comparison.metrics[test.metric]
        better = (test.difference > 0) == (end == "high")
        verdict = "one is higher" if test.difference > 0 else "other is higher"
        if end:
            verdict = "one is better" if better else "other is better"
    numbers = [Cell(p_value(value), value) for value in (test.p, test.holm)]
    return [*names, test.metric.replace("_", " "), gap, test.seeds, *numbers, verdict]


def p_value(p: float) -> str:
    """p to three digits, or that it is smaller."""
    return "< .001" if p < 0.001 else f"{p:.3f}".lstrip("0") if p < 0.9995 else "1"


def spread_tables(tested: TestedComparisons) -> tuple[list[str], list[list[object]], list[Sheet]]:
    """compared: every metric of every setting in the csv, the headlines for people."""
    rows, sheets = [], []
    for comparison, _ in tested:
        for setting in comparison.settings:
            for metric, value in setting.spreads.items():
                rows.append([comparison.title, setting.label, metric, value.mean, value.half, value.count])
        budget = budget_of(comparison)
        names = [*(name.replace("_", " ") for name in comparison.metrics), *(BUDGET[name] for name in budget)]
        columns = ["setting", "runs", *names]
        lines = [
            [
                one.label,
                len(one.runs),
                *(one.spreads.get(name) for name in comparison.metrics),
                *(text or None for _, text in paid_for(one, budget)),
            ]
            for one in comparison.settings
        ]
        sheets.append(Sheet(comparison.title, columns, lines))
    return ["comparison", "setting", "metric", "mean", "half_interval", "runs"], rows, sheets


def test_tables(tested: TestedComparisons) -> tuple[list[str], list[list[object]], list[Sheet]]:
    """tests: every paired test in the csv, the clearest for people."""
    header = ["metric", "one", "other", "difference", "half_interval", "seeds", "p", "p_holm"]
    rows, sheets = [], []
    for comparison, tests in tested:
        names = [one.label for one in comparison.settings]
        cells = {
            id(one): [
                one.metric,
                names[one.one],
                names[one.other],
                one.difference,
                one.half,
                one.seeds,
                one.p,
                one.holm,
            ]
            for one in tests
        }
        rows += [[comparison.title, *row] for row in cells.values()]
        if tests:
            columns = [name.replace("_", " ") for name in header]
            sheets.append(Sheet(comparison.title, columns, [cells[id(one)] for one in clearest(tests)]))
    return ["comparison", *header], rows, sheets
