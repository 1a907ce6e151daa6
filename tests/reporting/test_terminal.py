"""What is printed of a run: every character of names and numbers, in tables that a screen can hold."""

import json
import re

import pytest

from mlbench.cli.main import report
from mlbench.core.errors import UserError
from mlbench.core.plain_console import PlainConsole
from mlbench.reporting.class_table import class_table
from mlbench.reporting.terminal import show_run, sweep_table
from mlbench.runs import layout
from mlbench.runs.console import Display
from mlbench.runs.run_reading import read_finished
from tests.made_up_runs import CONTROLS, write

SCORES = {"pointing": 0.25, "deletion_auc": 0.5, "randomisation_rho": -0.125, "peak_bytes": 1727816.0}


@pytest.fixture
def maps(tmp_path):
    """A run of maps with four controls."""
    metrics = {"accuracy": 0.875, "mean_sparsity": 0.0625, **SCORES}
    metrics |= {f"control_{name}_{score}": value / 2 for name in CONTROLS for score, value in SCORES.items()}
    write(tmp_path, ("explain", "smooth[red]grad", "planted", "cnn"), 0, {}, metrics)
    return tmp_path


@pytest.mark.parametrize("width", [160, 80])
def test_scores_of_maps_are_a_table_of_methods_and_scores(maps, capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr("sys.stdout.isatty", lambda: width == 80, raising=False)
    show_run(maps)
    printed = re.sub("\x1b[^m]*m", "", capsys.readouterr().out)
    assert len(printed.splitlines()) < 16
    assert max(map(len, printed.splitlines())) <= max(width, len(str(maps)) + 20)
    numbers = re.findall(r"-?[\d,]+\.\d+|\d{1,3}(?:,\d{3})+", printed)
    for value in SCORES.values():
        for shown in (value, value / 2):
            text = f"{shown:,.0f}" if abs(shown) > 1000 else f"{shown:.4f}"
            assert numbers.count(text) >= (1 if shown == value else len(CONTROLS))
    assert {"0.8750", "0.0625"} <= set(numbers)
    assert "smooth[red]grad" in printed
    assert all(name.split("_")[0] in printed for name in CONTROLS)


def test_layers_of_a_probe_are_rows(tmp_path, capsys):
    metrics = {"accuracy": 0.5, "selectivity": 0.25}
    metrics |= {f"layer_{n}_{name}": n / 8 for n in range(3) for name in ("accuracy", "control_accuracy")}
    write(tmp_path, ("explain", "probe", "grammar", "bert"), 0, {}, metrics)
    show_run(tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines if line.strip().startswith("layer")] == [
        ["layer", str(n), f"{n / 8:.4f}", f"{n / 8:.4f}"] for n in range(3)
    ]


def test_square_brackets_and_colons_of_a_sweep_are_printed(tmp_path, capsys):
    write(tmp_path, ("lifelong", "ewc", "digits", "mlp"), 0, {}, {"average_accuracy": 0.5})
    label = "model.hidden=[bold] data.path=:smile:[/red].npz"
    PlainConsole().print(sweep_table([read_finished(tmp_path, label)[0]]))
    assert label in capsys.readouterr().out


@pytest.mark.parametrize("name", ["a\x1b]0;title\x07b", "\x1b[2J", "a\rb", "\u202eabc", "\x9b31m", "a\udcff"])
def test_names_command_no_terminal(tmp_path, capsys, name):
    write(tmp_path, ("lifelong", "ewc", "digits", "mlp"), 0, {}, {"average_accuracy": 0.5, name.rstrip("\udcff"): 0.25})
    console = PlainConsole()
    console.print(sweep_table([read_finished(tmp_path, name)[0]]))
    console.print(class_table([[name, 1, 0, 1], ["b", 1, 0, 1]], name, name))
    console.print(name)
    Display().note(name)
    assert report(UserError(name), full=False, code=2) == 2
    stdout, stderr = capsys.readouterr()
    assert all(line.isprintable() for line in (stdout + stderr).split("\n"))
    assert f"mlbench: {ascii(name)[1:-1]}" in stderr


def test_the_summary_stays_as_it_is(maps, capsys):
    before = (maps / layout.SUMMARY).read_text()
    show_run(maps)
    assert capsys.readouterr().out
    assert (maps / layout.SUMMARY).read_text() == before
    assert f"control_{CONTROLS[0]}_pointing" in json.loads(before)["metrics"]


def test_a_long_name_of_a_class_takes_one_line(capsys):
    PlainConsole().print(class_table([["long " * 60, 1, 0, 1], ["b", 1, 0, 1]], "examples", "class"))
    assert len(capsys.readouterr().out.splitlines()) == 4
