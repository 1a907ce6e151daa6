"""Names of classes: a line each, none twice to the eye, wherever they come from."""

import numpy as np
import pytest
from PIL import Image

from mlbench.core.errors import UserError
from mlbench.data.class_names import class_names
from mlbench.data.datasets.picture_files import list_pictures
from mlbench.data.datasets.table import Table
from mlbench.data.npz_format import read_npz


def test_names_are_one_line_in_composed_letters():
    names = ["a\nb", " \x1b[31mred\x1b[0m\t", "e\u0301", "=1+1", "猫", "🐱", "قط", "$x_1$", "a|b", "<b>", "x" * 500]
    found = ["a b", "[31mred [0m", "é", *names[3:]]
    assert class_names(names, "file") == found


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a", ""], "can be seen"),
        (["a", " \n"], "can be seen"),
        (["a", "b", "a"], "'a' more than once"),
        (["a", "a "], "'a' and 'a ', which look the same"),
        (["é", "e\u0301"], "which look the same"),
        (["a", "\ud800"], r"'\\ud800' is not valid Unicode"),
    ],
)
def test_names_that_cannot_be_told_apart_or_written_are_refused(tmp_path, names, message):
    with pytest.raises(UserError, match=f"^file: .*{message}"):
        class_names(names, "file")
    if not any("\ud800" in name for name in names):  # no array of numpy keeps it
        pictures = np.zeros((len(names), 4, 4), np.uint8)
        labels = np.arange(len(names))
        parts = {"x_train": pictures, "y_train": labels, "x_test": pictures, "y_test": labels}
        np.savez(tmp_path / "a.npz", **parts, classes=np.array(names))
        with pytest.raises(UserError, match=rf"a\.npz: .*{message}"):
            read_npz(tmp_path / "a.npz")


def test_folders_and_tables_name_classes_alike(tmp_path):
    for name in ("a", "b\nc"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for number in range(2):
            Image.new("L", (8, 8)).save(tmp_path / "pictures" / name / f"{number}.png")
    assert list_pictures(tmp_path / "pictures").classes == ["a", "b c"]
    (tmp_path / "pictures" / "a ").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "pictures" / "a " / "0.png")
    with pytest.raises(UserError, match=r"pictures: .*look the same"):
        list_pictures(tmp_path / "pictures").classes  # noqa: B018
    (tmp_path / "a.csv").write_text('x,y\n1,"b\nc"\n2,"b\nc"\n3,a\n4,a\n')
    assert Table(path=str(tmp_path / "a.csv"), target="y", test_share=0.5).load(tmp_path).classes == ["a", "b c"]
