"""`mlbench report`: everything below a folder of results on one page, and its tables as files. No torch."""

from functools import partial
from pathlib import Path

from markupsafe import Markup

from mlbench.core.errors import UserError, nearest
from mlbench.core.plain_text import printable
from mlbench.core.user_path import user_path
from mlbench.reporting.html.page import Section, facts, write_page
from mlbench.reporting.report import (
    section_comparison,
    section_explanations,
    section_layers,
    section_pareto,
    section_runs,
    section_streams,
)
from mlbench.reporting.report.drawing import drawn_section
from mlbench.reporting.report.grouping import Comparison, compare
from mlbench.reporting.report.paired_tests import pairwise_tests
from mlbench.reporting.report.run_records import Records, collect
from mlbench.reporting.report.table_export import write_table

USAGE = "usage: mlbench report [DIR] [out=FOLDER] [media=MEGABYTES]"
MEGABYTES = 16.0  # of pictures and sounds on the page
LEAD = "Made by mlbench report from the files below {}; nothing was run again, and this page needs no network."


def answer(words: list[str]) -> Path:
    """`mlbench report [DIR] [out=FOLDER] [media=MEGABYTES]`; the page. Raises UserError."""
    options = dict(word.split("=", 1) for word in words if "=" in word)
    places = [word for word in words if "=" not in word]
    if len(places) > 1 or any(place.startswith("-") for place in places):
        raise UserError(USAGE)
    for name in options.keys() - {"out", "media"}:
        raise UserError(f"{name}: no such setting{nearest(name, ('out', 'media'))}\n{USAGE}")
    try:
        megabytes = float(options.get("media", MEGABYTES))
    except ValueError:
        megabytes = -1
    if not 0 <= megabytes < 1e6:
        raise UserError(f"media={options['media']}: allowed is a number of megabytes from 0 up")
    folder = user_path(places[0] if places else "outputs")
    out = user_path(options["out"]) if options.get("out") else folder / "report"
    if out.is_symlink() and not options.get("out"):
        raise UserError(f"{out} is a symbolic link; out=FOLDER says where the report is to be written")
    return write_report(folder, out, megabytes)


def write_report(folder: Path, out: Path, megabytes: float = MEGABYTES) -> Path:
    """Write index.html and the tables into `out`; the path of the page.

    Raises UserError when there is no such folder or no finished run below it, RunError when nothing can be written.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; mlbench report takes a folder of results, such as outputs")
    records = collect(folder, out)
    if not records.runs:
        begun = f" ({len(records.problems)} that cannot be used)" if records.problems else ""
        raise UserError(f"no finished runs below {folder}{begun}; a run is finished when its folder has summary.json")
    comparisons, repeated = compare(records.runs)
    tested = [(comparison, pairwise_tests(comparison)) for comparison in comparisons]
    streams, compressed = ([one for one in comparisons if one.family == name] for name in ("lifelong", "compress"))
    points = section_pareto.points_of_each(compressed, records)
    sections = [
        section_comparison.section(tested),
        drawn_section("tasks", "Accuracy by task", partial(section_streams.section, streams, records)),
        section_pareto.section(points),
        drawn_section("layers", "Layer by layer", partial(section_layers.section, comparisons, records)),
        drawn_section("gallery", "Pictures", partial(section_explanations.section, comparisons, records, megabytes)),
        section_runs.section(records.runs, repeated, comparisons, out),
        section_runs.problems_section(records.problems, folder),
    ]
    write_tables(out, records, tested, points, comparisons)
    path = out / "index.html"
    name = folder.resolve().name
    foot = "Tables: compared, tests, points and runs, each as csv, md and tex, lie beside this page."
    there = [section for section in sections if section]
    write_page(path, f"Results in {printable(name)}", lead(folder, records, comparisons, there), there, foot)
    return path


def lead(folder: Path, records: Records, comparisons: list[Comparison], sections: list[Section]) -> Markup:
    """What there is, in a line and a few numbers."""
    settings = sum(len(one.settings) for one in comparisons)
    seconds = sum(run.costs.get("wall_seconds", run.costs.get("train_seconds", 0)) for run in records.runs)
    time = (round(seconds / 3600, 1), "hours of work") if seconds >= 7200 else (round(seconds / 60), "minutes of work")
    numbers = [
        (len(records.runs), "runs"),
        (settings, "settings"),
        (len({r.seed for r in records.runs}), "seeds"),
        time,
    ]
    if any(section.id == "aside" for section in sections):
        numbers.append((len({one.folder for one in records.problems}), "folders that are not used in full"))
    return Markup("{}{}").format(LEAD.format(folder), facts(numbers))


def write_tables(
    out: Path,
    records: Records,
    tested: section_comparison.TestedComparisons,
    points: list[tuple[Comparison, section_pareto.Points]],
    comparisons: list[Comparison],
) -> None:
    """The tables of the page as files, those that have rows."""
    tables = {
        "runs": section_runs.sheet(records.runs, comparisons, out),
        "compared": section_comparison.spread_tables(tested),
        "tests": section_comparison.test_tables(tested),
        "points": section_pareto.sheets(points),
    }
    for name, (header, rows, sheets) in tables.items():
        if rows:
            write_table(out, name, header, rows, sheets)
