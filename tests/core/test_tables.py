"""Tables as csv: no cell is a formula, numbers stay numbers, and what is read is what was written."""

import csv

import pytest

from mlbench.core.csv_files import read_rows, write_csv
from mlbench.core.plain_text import printable

FORMULAS = ["=1+1", "+A1", "-A1", "@SUM(A1)", "\t=1", "\n=1", "-", "=cmd|' /C calc'!A0", "-1+1", "\uff1d1", "'=1"]
NUMBERS = ["-0.5", "+3", "-1e-05", "-0", "+.5"]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_text_that_a_spreadsheet_would_compute_is_text(tmp_path, text):
    write_csv(tmp_path / "a.csv", ["name", text], [[text, 1]])
    with (tmp_path / "a.csv").open(newline="") as file:
        header, row = csv.reader(file)
    assert header[1] == row[0] == f"'{text}"
    assert read_rows(tmp_path / "a.csv") == [{"name": text, text: "1"}]


def test_numbers_and_other_texts_stay_as_they_are(tmp_path):
    texts = [*NUMBERS, "a=b", "a-b", "'quoted'", "''", "", "x\n=1", "ewc strength=-1", "结果"]
    numbers = [-0.5, -3, 1e-300, True, None]
    write_csv(tmp_path / "a.csv", ["cell"], [[cell] for cell in [*texts, *numbers]])
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        rows = [row[0] for row in csv.reader(file)]
    assert rows[1:] == [*texts, "-0.5", "-3", "1e-300", "True", ""]


def test_no_name_begins_another_row_or_cannot_be_written(tmp_path):
    write_csv(tmp_path / "a.csv", ["name"], [["a\udcffb"], ["a\r=1"], ["\r=1"]])
    assert [row["name"] for row in read_rows(tmp_path / "a.csv")] == ["a\\udcffb", "a\\r=1", "\\r=1"]


def test_what_cannot_be_seen_is_shown_as_its_escape():
    assert printable("结果 é 👩\u200d🔬 [red] a\u00a0b") == "结果 é 👩\u200d🔬 [red] a\u00a0b"
    assert printable("a\x1b[31mb\nc\td\x9b\x7f") == r"a\x1b[31mb\nc\td\x9b\x7f"
    assert printable("a\u202eb\ud800\u2028") == r"a\u202eb\ud800\u2028"
    assert printable("a\nb\x07", lines=True) == "a\nb\\x07"
