"""Runs read from their folders, also from those that earlier versions left."""

import json
from pathlib import Path

import pytest
import yaml

from mlbench.reporting.report.grouping import compare
from mlbench.reporting.report.run_records import collect
from mlbench.runs import layout
from mlbench.runs.run_reading import read_finished, valid_config
from mlbench.runs.run_record import RunRecord, number
from mlbench.runs.run_tables import UnreadableRun
from mlbench.runs.settings import NOT_SETTINGS, flatten, joint_comparison_key, label_of, with_current_targets

PUBLISHED = Path(__file__).parents[1] / "published" / "run"
OLD = "mlbench.lifelong.ewc.EWC"
TODAY = "mlbench.lifelong.regularisation.ewc.EWC"


def copy_with(folder, seed, renamed):
    """The published run under another seed, with its targets as they are spelled today where `renamed`."""
    folder.mkdir(parents=True)
    config = yaml.safe_load((PUBLISHED / layout.CONFIG).read_text()) | {"seed": seed}
    config = with_current_targets(config) if renamed else config
    (folder / layout.CONFIG).write_text(yaml.safe_dump(config))
    summary = json.loads((PUBLISHED / layout.SUMMARY).read_text()) | {"seed": seed}
    (folder / layout.SUMMARY).write_text(json.dumps(summary))
    return folder


def test_a_published_run_has_todays_targets():
    run, lines = read_finished(PUBLISHED)
    assert lines == []
    assert OLD in (PUBLISHED / layout.CONFIG).read_text()
    assert run.setting("lifelong._target_") == run.flat["lifelong._target_"] == TODAY
    assert run.flat["data.source._target_"] == "mlbench.data.datasets.digits.Digits"
    assert run.flat["lifelong.strength"] == "1.0"
    assert not NOT_SETTINGS.keys() & run.flat.keys()
    assert (run.seed, run.technique, run.tables_schema) == (1, "ewc", 1)


def test_a_run_of_an_earlier_version_is_the_same_setting(tmp_path):
    for seed in range(4):
        copy_with(tmp_path / f"run{seed}", seed, renamed=seed > 1)
    (comparison,), repeated = compare(collect(tmp_path, tmp_path / "report").runs)
    (setting,) = comparison.settings
    assert sorted(setting.runs) == [0, 1, 2, 3]
    assert repeated == []


def test_a_run_of_an_earlier_version_is_compared_with_joint_training():
    config = yaml.safe_load((PUBLISHED / layout.CONFIG).read_text())
    joint = with_current_targets(config) | {"lifelong": {"_target_": "mlbench.lifelong.bounds.joint.Joint"}}
    assert joint_comparison_key(config) == joint_comparison_key(joint)
    assert joint_comparison_key(config) != joint_comparison_key(joint | {"seed": 5})


def test_settings_are_flattened():
    config = {"a": {"b": [1, None], "c": None, "d": "text"}, "out": "here", "seed": 3, "x": True}
    assert flatten(config, NOT_SETTINGS) == {"a.b": "[1, null]", "a.d": "text", "x": "true"}
    assert flatten(config)["seed"] == "3"
    assert flatten({"model": {"_target_": "mine.Net"}}) == {"model._target_": "mine.Net"}
    assert label_of(["lifelong=gem", "seed=1", "device=cpu", "out=x"]) == "lifelong=gem device=cpu"
    assert label_of(["seed=1"]) == "default"


def test_an_unfinished_run_has_no_record_and_a_broken_one_is_named(tmp_path):
    with pytest.raises(UnreadableRun, match=r"summary\.json cannot be read: it is not there"):
        read_finished(tmp_path)
    (tmp_path / layout.SUMMARY).write_text("{")
    with pytest.raises(UnreadableRun, match=r"summary\.json cannot be read: is not valid JSON"):
        read_finished(tmp_path)


def test_values_and_cells():
    run = RunRecord(Path(), {"metrics": {"accuracy": 0.5}, "costs": {"bytes": 3}, "seed": 1}, {"train": {"lr": 0.1}})
    assert [run.value("accuracy"), run.value("bytes")] == [0.5, 3]
    assert [run.setting("train.lr"), run.setting("train.lr.more"), run.setting("seed")] == [0.1, None, 1]
    with pytest.raises(KeyError):
        run.value("forgetting")
    row = {"a": "0.25", "b": "", "c": "nan", "d": "many"}
    assert [number(row, name) for name in "abcde"] == [0.25, None, None, None, None]


def test_tables_of_a_later_schema_are_left_aside(tmp_path):
    folder = copy_with(tmp_path / "run", 0, renamed=True)
    summary = json.loads((folder / layout.SUMMARY).read_text())
    (folder / layout.SUMMARY).write_text(json.dumps(summary | {"tables_schema": layout.TABLES_SCHEMA + 1}))
    records = collect(tmp_path, tmp_path / "report")
    assert records.runs == []
    assert "tables of schema 2" in records.problems[0].line
    assert valid_config(folder / layout.CONFIG)["lifelong"]["_target_"] == TODAY
