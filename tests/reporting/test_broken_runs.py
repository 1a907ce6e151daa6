"""The report, the sweep and the terminal among runs that are broken or hostile: each is one line, the others stay."""

import json
import os
import re

import pytest

from mlbench.core.errors import UserError
from mlbench.core.file_lock import locked
from mlbench.reporting.report.build import write_report
from mlbench.reporting.report.run_records import collect
from mlbench.reporting.sweep.summary import finished
from mlbench.reporting.sweep.tables import write_sweep
from mlbench.reporting.terminal import show_run
from mlbench.runs import layout, run_tables
from mlbench.runs.run_reading import read_finished
from mlbench.runs.run_state import record_exit
from mlbench.runs.run_tables import UnreadableRun
from tests import made_up_runs
from tests.made_up_runs import STREAMS

GOOD = {"average_accuracy": 0.875, "backward_transfer": 0.1, "forgetting": 0.25}
WRONG = {  # a field of summary.json -> values that it cannot have
    "schema": [None, 0, 2, "1", True, [], 1e400],
    "tables_schema": [None, -1, 99, "1", {}],
    "family": [None, 3, [], "x" * 2000],
    "technique": [3, ["a"], {"a": 1}],
    "data": [None, 1.5],
    "model": [None, False],
    "kind": [None, 3, ["maps"]],
    "seed": [None, "1", 1.5, 1e400, float("nan"), True, 2.0**70, [1]],
    "headlines": [None, 3, ["average_accuracy"], {"average_accuracy": "up"}, {"average_accuracy": ["high"]}],
    "metrics": [None, 3, [1], "x"],
    "costs": [None, 3, [1], "x"],
}
FILES = {  # content that summary.json cannot have
    "digits": b'{"schema": 1, "seed": ' + b"9" * 400 + b"}",
    "more_digits": b'{"schema": 1, "seed": ' + b"9" * 5000 + b"}",
    "depth": b"[" * 100_000,
    "whole_depth": b"[" * 100_000 + b"]" * 100_000,
    "maps_depth": b'{"a": ' * 100_000,
    "surrogate": b'{"schema": 1, "family": "\\ud800"}',
    "latin": b'{"schema": 1, "family": "\xe9"}',
    "list": b"[]",
    "half": b'{"schema": 1, "fam',
}


def run(folder, name, seed=0, **metrics):
    """A finished lifelong run."""
    made_up_runs.write(folder / name, ("lifelong", "gem", "digits", "mlp"), seed, {}, metrics or GOOD)
    return folder / name


def change(place, **fields):
    """Other fields in the summary."""
    path = place / layout.SUMMARY
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def page_of(folder):
    """The text of a report on everything in a folder, and the lines of what is not used, by the folder's name."""
    text = write_report(folder, folder / "report").read_text(encoding="utf-8")
    lines = re.findall(r"<li>(left out: )?<code>(.*?)</code>: (.*?)</li>", text)
    return text, [(name, bool(left), line) for left, name, line in lines]


@pytest.mark.parametrize(("field", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_field_of_another_type_is_refused_by_name(tmp_path, field, value):
    place = run(tmp_path, "bad")
    change(place, **{field: value})
    with pytest.raises(UnreadableRun, match=f"^summary.json cannot be read: .*{field.split('_')[-1]}"):
        read_finished(place)


def test_every_broken_summary_is_one_line(tmp_path):
    run(tmp_path, "good", seed=7)
    for name, content in FILES.items():
        (run(tmp_path, name) / layout.SUMMARY).write_bytes(content)
    for number, (field, values) in enumerate(WRONG.items()):
        change(run(tmp_path, f"{field}", seed=number), **{field: values[-1]})
    for name in ("fifo", "folder", "device", "large", "loop"):
        (run(tmp_path, name) / layout.SUMMARY).unlink()
    os.mkfifo(tmp_path / "fifo" / layout.SUMMARY)
    (tmp_path / "folder" / layout.SUMMARY).mkdir()
    (tmp_path / "device" / layout.SUMMARY).symlink_to("/dev/zero")
    (tmp_path / "loop" / layout.SUMMARY).symlink_to(layout.SUMMARY)
    with (tmp_path / "large" / layout.SUMMARY).open("wb") as file:
        file.write(b"{")  # of zero bytes alone it would be what a power cut leaves
        file.truncate(10**9)
    text, lines = page_of(tmp_path)
    names = {*FILES, *WRONG, "fifo", "folder", "device", "large", "loop"}
    assert sorted(name for name, _, _ in lines) == sorted(names)
    assert [line for _, left, line in lines if not left or "summary.json cannot be read: " not in line] == []
    assert "0.875" in text
    told = {name: line for name, _, line in lines}
    assert "a FIFO" in told["fifo"]
    assert "too large" in told["large"]


def test_what_is_broken_beside_a_summary_costs_what_it_tells_and_no_more(tmp_path):
    laughs = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))
    configs = {
        "itself": "a: &a [*a]", "laughs": laughs, "depth": "a: " + "[" * 5000, "tag": "a: !!python/name:os.system",
        "text": "words", "minutes": "a: 1" + ":1" * 200_000, "date": "a: 2026-99-99", "key": "{[1]: 2}",
        "many": f"a: [{'1,' * 20_000}]", "empty": "",
    }  # fmt: skip
    for number, (name, content) in enumerate(configs.items()):
        (run(tmp_path, name, seed=number) / layout.CONFIG).write_text(content)
    for name, file in (("fifo", layout.CONFIG), ("ended", layout.ENVIRONMENT), ("matrix", layout.ACCURACY_MATRIX)):
        (run(tmp_path, name) / file).unlink(missing_ok=True)
        os.mkfifo(tmp_path / name / file)
    text, lines = page_of(tmp_path)
    del configs["date"]  # a text
    assert sorted(name for name, _, _ in lines) == sorted([*configs, "fifo", "ended", "matrix"])
    assert not any(left for _, left, _ in lines)
    assert len(re.findall(r'<a href="\./', text)) == len(configs) + 4


def test_numbers_of_any_size_and_tables_of_any_form_are_drawn(tmp_path):
    huge = {"average_accuracy": 1.7e308, "forgetting": 1e99, "backward_transfer": 10**15, "layer_99999999999_r2": 0.5}
    for seed in range(3):
        place = run(tmp_path, f"huge{seed}", seed, **huge | {"forgetting": 1e99 * (1 + seed / 7), "more": 5e-324})
        change(place, costs={"train_seconds": 1.7e308, "wall_seconds": 1.7e308, "passes": True})
    tables = {
        layout.ACCURACY_MATRIX: [
            "0\n", "x\n1,2\n", "t,a\n1,\n", "t,a\n5,0.5\n", "t,a\n0,1e400\n", "t\n1\n", "\0", "t,a\n-1,1\n"
        ],
        layout.POINTS: [
            "step\n", "accuracy,bytes\n0.5,-3\n0.5,0\n", "step,stage,accuracy,bytes\n²,a,1e99,1e99\n0\n", ",,,\n,,,,,\n"
        ],
        layout.LAYERS: ["layer,path\n²,a\n" + "9" * 5000 + ",b\n"],
        layout.CURVES: ["map,share of pixels,deletion\na,1e99,-1e99\na,0,1\n"],
    }  # fmt: skip
    number = 0
    for name, contents in tables.items():
        for content in contents:
            for family, kind in (("lifelong", ""), ("compress", ""), ("explain", "maps")):
                number += 1
                place = tmp_path / f"table{number}"
                metrics = {**GOOD, "layer_1_r2": 0.5, "accuracy": 0.5}
                told = STREAMS | {"kind": kind}
                made_up_runs.write(place, (family, f"t{number}", "digits", "mlp"), 0, {}, metrics, told)
                (place / name).write_text(content)
    text, lines = page_of(tmp_path)
    assert "cannot be drawn" not in text
    assert {f"huge{seed}" for seed in range(3)} <= {name for name, _, _ in lines}
    assert len(re.findall(r'<a href="\./', text)) == number + 3


def test_more_than_a_run_can_have_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(run_tables, "MOST_ACCURACIES", 1000)
    many = {f"layer_0_{number}": 0.5 for number in range(40)}
    run(tmp_path, "charts", seed=1, **many, **GOOD)
    change(run(tmp_path, "metrics", seed=2), metrics={f"m{number}": 0.5 for number in range(10_001)})
    change(run(tmp_path, "headlines", seed=3), headlines={f"m{number}": "" for number in range(101)})
    place = run(tmp_path, "points", seed=4)
    (place / layout.ACCURACY_MATRIX).write_text("a\n" * 1002)
    text, lines = page_of(tmp_path)
    told = {name: (left, line.rpartition(": ")[2]) for name, left, line in lines}
    assert told == {
        "headlines": (True, "headlines has more than 100 entries"),
        "metrics": (True, "metrics has more than 10000 entries"),
        "points": (False, "it has more than 1000 cells"),
    }
    assert "The first 24 of 40 measures." in text


@pytest.mark.slow
def test_folders_may_lie_a_thousand_deep(tmp_path):
    run(tmp_path, "good")
    deep = tmp_path
    for _ in range(1200):
        deep = deep / "d"
        deep.mkdir()
    (deep / layout.SUMMARY).write_text("{}")
    try:
        records = collect(tmp_path, tmp_path / "report")
    finally:
        (deep / layout.SUMMARY).unlink()
        os.removedirs(deep)
    assert [record.folder.name for record in records.runs] == ["good"]
    assert [one.folder for one in records.problems] == [deep]


def test_a_part_that_cannot_be_drawn_is_a_line(tmp_path, monkeypatch):
    run(tmp_path, "good")
    (tmp_path / "good" / layout.ACCURACY_MATRIX).write_text("t,a\n0,0.1\n1,0.5\n")
    monkeypatch.setattr("mlbench.reporting.html.svg_charts.matrix", lambda *_: 1 / 0)
    text, _ = page_of(tmp_path)
    assert "<p>matrices cannot be drawn (ZeroDivisionError: division by zero)</p>" in text
    assert "accuracy on the first task" in text


def test_states_are_told_apart(tmp_path):

    run(tmp_path, "good")
    for name in ("running", "interrupted", "failed", "killed"):
        (run(tmp_path, name) / layout.SUMMARY).unlink()
    record_exit(tmp_path / "interrupted", KeyboardInterrupt())
    record_exit(tmp_path / "failed", MemoryError("<b>too\nlarge</b>"))
    (tmp_path / "killed" / layout.LOCK).touch()
    with locked(tmp_path / "running" / layout.LOCK, wait=False):
        _, lines = page_of(tmp_path)
    told = {name: line for name, left, line in lines if left}
    assert told["running"] == "it still runs"
    assert told["failed"] == r"it failed: MemoryError: &lt;b&gt;too\nlarge&lt;/b&gt;"
    assert "it was interrupted" in told["interrupted"]
    assert "it was killed" in told["killed"]


def test_a_sweep_leaves_out_what_is_broken(tmp_path, capsys, undrawn):
    jobs = []
    for number, name in enumerate(("good", "other", "bad", "matrix", "maps")):
        place = run(tmp_path, name, average_accuracy=number / 8)
        jobs.append({"folder": str(place), "label": f"lifelong=ewc lifelong.strength={number}", "failure": None})
    (tmp_path / "bad" / layout.SUMMARY).write_text('{"schema": 1')
    (tmp_path / "matrix" / layout.ACCURACY_MATRIX).write_text("t,a\n5,0.5\n")
    (tmp_path / "matrix" / layout.POINTS).write_bytes(b"\xff")
    (tmp_path / "maps" / layout.ARTEFACTS).mkdir()
    (tmp_path / "maps" / layout.ARTEFACTS / layout.MAPS).write_bytes(b"PK\x03\x04")
    jobs += [{"folder": str(tmp_path / "never_begun"), "label": "x", "failure": None}]
    runs = finished(jobs)
    assert [record.folder.name for record in runs] == ["good", "other", "matrix", "maps"]
    paths = write_sweep(runs, tmp_path / "sweep")
    assert "sweep.csv" in {path.name for path in paths}
    told = capsys.readouterr().err.splitlines()
    assert [re.fullmatch(r"left out: .*/(\w+): (\S+) cannot be read: .+", line).groups() for line in told] == [
        ("bad", "summary.json"),
        ("matrix", "accuracy_matrix.csv"),
        ("matrix", "points.csv"),
        ("maps", "maps.npz"),
    ]


def test_a_run_that_cannot_be_shown_is_a_message(tmp_path):
    place = run(tmp_path, "bad")
    change(place, metrics=[1])
    with pytest.raises(UserError, match=r"bad: summary\.json cannot be read: metrics is a list, not a mapping"):
        show_run(place)


def test_only_broken_runs_make_no_report(tmp_path):
    (run(tmp_path, "bad") / layout.SUMMARY).write_text("{}")
    with pytest.raises(UserError, match="no finished runs"):
        write_report(tmp_path, tmp_path / "report")


def test_no_file_from_elsewhere_is_embedded(tmp_path):
    (tmp_path / "secret").write_bytes(b"a secret")
    place = tmp_path / "runs" / "one"
    made_up_runs.write(place, ("explain", "saliency", "digits", "cnn"), 0, {}, GOOD, STREAMS | {"kind": "maps"})
    (place / layout.FIGURES).mkdir()
    (place / layout.FIGURES / "maps.png").symlink_to(tmp_path / "secret")
    text = write_report(tmp_path / "runs", tmp_path / "report").read_text()
    assert "data:image" not in text
    assert len(collect(tmp_path / "runs", tmp_path / "report").runs) == 1
