"""Points of compressed networks over seeds, also from the tables of older runs, which lack a column."""

import csv

import pytest

from mlbench.core.csv_files import read_rows, write_csv
from mlbench.reporting.points import gather_points
from mlbench.reporting.report.build import write_report
from mlbench.reporting.sweep.tables import write_sweep
from mlbench.runs import layout
from mlbench.runs.run_reading import read_finished
from tests import made_up_runs

POINT = ("prune", "1", "prune 1")


def drop_column(folder, column):
    """Leave a column out of a run's points, as in one made before there was this column."""
    rows = read_rows(folder / layout.POINTS)
    header = [name for name in rows[0] if name != column]
    write_csv(folder / layout.POINTS, header, [[row[name] for name in header] for row in rows])


@pytest.fixture
def folders(tmp_path):
    """Two seeds of one setting, the first made before there was the column `macs`."""
    made_up_runs.make(tmp_path, 20)
    chosen = sorted(path.parent for path in tmp_path.glob("compress/prune-*/*/points.csv"))[:2]
    drop_column(chosen[0], "macs")
    return chosen


def test_a_missing_column_is_a_missing_number(folders):
    runs = [read_finished(folder, "prune")[0] for folder in folders]
    points = gather_points((run.label, run.rows(layout.POINTS)) for run in runs)
    assert points[POINT]["accuracy"].count == 2
    assert points[POINT]["macs"].count == 1


@pytest.mark.parametrize("older", [1, 2])
def test_a_sweep_over_older_runs_has_its_table_and_figures(folders, tmp_path, older):
    if older == 2:
        drop_column(folders[1], "macs")
    written = write_sweep([read_finished(folder, "prune")[0] for folder in folders], tmp_path)
    names = {path.name for path in written}
    assert {layout.POINTS, "accuracy_bytes.png", "accuracy_latency_ms.png"} <= names
    assert ("accuracy_macs.png" in names) is (older == 1)
    with (tmp_path / layout.POINTS).open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["stage"] == POINT[2]]
    assert {row["metric"]: row["runs"] for row in rows}["bytes"] == "2"
    assert {row["metric"]: row["runs"] for row in rows}.get("macs", "") == ("1" if older == 1 else "")


def test_the_report_shows_the_points_of_older_runs(folders, tmp_path):
    drop_column(folders[1], "macs")
    out = tmp_path / "report"
    page = write_report(folders[0].parent, out).read_text()
    assert "accuracy against bytes of the file" in page
    with (out / layout.POINTS).open(newline="") as file:
        metrics = {row["metric"]: int(row["runs"]) for row in csv.DictReader(file)}
    assert {"accuracy", "bytes", "latency_ms", "macs"} <= metrics.keys()
