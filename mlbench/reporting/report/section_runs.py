"""The part of the report that lists every run, and what could not be used."""

import os
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup

from mlbench.core.plain_text import printable
from mlbench.reporting.aggregate import training_seconds
from mlbench.reporting.html import page
from mlbench.reporting.html.page import Cell, Column, Section
from mlbench.reporting.report.grouping import Comparison
from mlbench.reporting.report.run_records import Problem
from mlbench.reporting.report.table_export import Sheet
from mlbench.runs.run_record import RunRecord

LEAD = (
    "A click on a title sorts; the fields above choose. Names lead to the folders, where these still lie as they did "
    "when this page was made."
)
PROBLEMS_SHOWN = 200


def labels(comparisons: list[Comparison]) -> dict[Path, str]:
    """Folder of a run -> the label of its setting."""
    return {run.folder: one.label for group in comparisons for one in group.settings for run in one.runs.values()}


def metrics(comparisons: list[Comparison]) -> list[str]:
    """The first two headline metrics of every comparison."""
    return list(dict.fromkeys(name for comparison in comparisons for name in [*comparison.metrics][:2]))


def section(runs: list[RunRecord], repeated: list[RunRecord], comparisons: list[Comparison], out: Path) -> Section:
    """The table of all runs."""
    names, named, again = metrics(comparisons), labels(comparisons), {run.folder for run in repeated}
    columns = [
        Column("run"), Column("family", choice=True), Column("data", choice=True), Column("model", choice=True),
        Column("seed", number=True), *(Column(name.replace("_", " "), number=True) for name in names),
        Column("train s", number=True), Column("ended (UTC)", number=True), Column("remark", choice=True),
    ]  # fmt: skip
    rows = []
    for run in runs:
        link = Markup('<a href="{}">{}</a>').format(link_to(run.folder, out), named.get(run.folder, run.technique))
        numbers = [number(run.metrics.get(name)) for name in names]
        seconds = number(training_seconds(run), 1)
        remark = "repeated later, not counted" if run.folder in again else ""
        rows.append([link, run.family, run.data, run.model, run.seed, *numbers, seconds, run.minute, remark])
    return Section("runs", "Runs", page.table(columns, rows, name="all-runs"), LEAD)


def number(value: float | None, digits: int = 3) -> Cell | None:
    """A number with so many digits after the point."""
    return None if value is None else Cell(f"{value:,.{digits}f}", value)


def relative(folder: Path, out: Path) -> str:
    """The way from the page to a run's folder."""
    return printable(Path(os.path.relpath(folder, out)).as_posix() + "/")


def link_to(folder: Path, out: Path) -> str:
    """The same as an address: with `./` before it no name is a scheme, such as javascript: or mailto:."""
    return "./" + quote(os.fsencode(Path(os.path.relpath(folder, out)).as_posix())) + "/"


def problems_section(problems: list[Problem], folder: Path) -> Section | None:
    """The folders and files that could not be used, one line each; None where there are none."""
    if not problems:
        return None
    lines = [
        Markup("{}<code>{}</code>: {}").format(
            "left out: " if one.left_out else "", printable(os.path.relpath(one.folder, folder)), printable(one.line)
        )
        for one in problems
    ]
    lines = list(dict.fromkeys(lines))
    more = [f"and {len(lines) - PROBLEMS_SHOWN} more"] if len(lines) > PROBLEMS_SHOWN else []
    lead = "Folders or files that could not be used. Everything else on this page does without them."
    return Section("aside", "Not used", page.notes([*lines[:PROBLEMS_SHOWN], *more]), lead)


def sheet(
    runs: list[RunRecord], comparisons: list[Comparison], out: Path
) -> tuple[list[str], list[list[object]], list[Sheet]]:
    """runs: every run with its headline metrics."""
    names, named = metrics(comparisons), labels(comparisons)
    header = ["folder", "family", "technique", "setting", "data", "model", "seed", *names, "train_seconds", "ended"]
    rows = [
        [
            relative(run.folder, out), run.family, run.technique, named.get(run.folder, ""), run.data, run.model,
            run.seed, *(run.metrics.get(name) for name in names), run.costs.get("train_seconds"), run.ended,
        ]
        for run in runs
    ]  # fmt: skip
    columns = [name.replace("_", " ") for name in header[1:]]
    return header, rows, [Sheet("runs", columns, [row[1:] for row in rows])]
