"""The sheet of a photograph: its pixels are those of the file, and its bars are the rows of predictions.csv."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
from PIL import Image

from mlbench.core.csv_files import write_csv
from mlbench.data.picture_decoder import decode_at_own_size, decode_picture
from mlbench.explain.attribution.photograph_sheets import file_names
from mlbench.reporting.figures import sheets
from mlbench.reporting.sweep import maps as sweep_maps
from mlbench.runs.figure_names import LETTERS, figure_names
from mlbench.runs.results import Sheet


def photograph(path, height, width):
    """A file of noise on a ramp, and its pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(0).integers(0, 60, (height, width, 3))
    pixels = (noise + np.linspace(0, 190, width).astype(int)[None, :, None]).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def test_the_crop_is_that_of_the_file(tmp_path):
    """90 x 70 pixels: of the middle 70 the network keeps 32 of 40, so the file's 7 to 63 of 70, 17 to 73 of 90."""
    pixels = photograph(tmp_path / "a.png", 70, 90)
    about = (tmp_path / "a.png", 32, False, 0.8)
    found = decode_at_own_size(*about, most=56)
    np.testing.assert_array_equal(found, pixels[7:63, 17:73].transpose(2, 0, 1))
    for array in (found, decode_at_own_size(*about, most=40)):
        small = Image.fromarray(array.transpose(1, 2, 0)).resize((32, 32), Image.Resampling.BICUBIC)
        seen = decode_picture(*about).transpose(1, 2, 0).astype(int)
        assert abs(np.asarray(small) - seen).mean() < 4  # one pixel beside: 13
    assert decode_at_own_size(*about, most=40).shape == (3, 40, 40)
    assert decode_at_own_size(tmp_path / "a.png", 32, True, 1.0, 80).shape == (1, 70, 70)


def test_a_turned_jpeg_is_decoded_in_part(tmp_path):
    """Of 400 x 600 pixels of a camera held upright every second one is decoded, for 100 pixels a side."""
    ramp = np.repeat(np.linspace(0, 255, 600).astype(np.uint8)[None, :, None], 400, 0).repeat(3, 2)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(ramp).save(tmp_path / "a.jpg", exif=exif)
    found = decode_at_own_size(tmp_path / "a.jpg", 50, False, 1.0, 100)
    rows = 255 / 600 * (100 + 400 * (np.arange(100) + 0.5) / 100)  # the ramp runs down, from 100 to 500 of 600
    assert abs(found.astype(float) - rows[None, :, None]).max() < 4


def test_names_of_files_and_of_their_figures():
    paths = [Path(name) for name in ("a/cat.png", "b/cat.jpg", "b/Cat.png", "c/cat.png", "maps.png", "a\nb/$1\n.png")]
    assert file_names(paths) == ["a/cat.png", "cat.jpg", "Cat.png", "c/cat.png", "maps.png", r"$1\n.png"]
    found = figure_names(paths, {"maps"})
    assert found == ["cat", "cat_2", "Cat_3", "cat_4", "photograph_maps", "_1_"]
    odd = figure_names([Path("照片.jpg"), Path(".png"), Path("x" * 250), Path("x" * 251), Path("\udcff.png")], set())
    assert odd == ["照片", "png", "x" * LETTERS, "x" * LETTERS + "_2", "_"]


def test_a_sheet_shows_every_pixel_and_the_values(tmp_path, monkeypatch):
    """A map with a single positive pixel of 2 x 2: its corner is red, the one across, 0, is the photograph dimmed."""
    pixels = photograph(tmp_path / "a.png", 700, 700)
    figures, save = [], sheets.save
    monkeypatch.setattr(sheets, "save", lambda figure, path: (figures.append(figure), save(figure, path)))
    values = np.array([[3.0, 0.0], [0.0, 0.0]])
    shares = [0.5, 0.25, 0.125]
    sheet = Sheet("$a$", lambda: pixels.transpose(2, 0, 1), [("of a", values)], ("no", "yes"), ["a", "b", "c"], shares)
    sheets.draw_sheet(sheet, tmp_path / "b.png")
    drawn = np.asarray(Image.open(tmp_path / "b.png"))
    dpi, (key, bars) = 700 / sheets.SIDE, figures[0].axes
    left, second = (round(inches * dpi) for inches in (sheets.EDGE, sheets.EDGE + sheets.SIDE + sheets.GAP))
    bottom = round((sheets.AXIS + sheets.CAPTION + 3 * sheets.BAR) * dpi)
    rows = slice(len(drawn) - bottom - 700, len(drawn) - bottom)
    np.testing.assert_array_equal(drawn[rows, left : left + 700], pixels)
    over = drawn[rows, second : second + 700].astype(int)
    np.testing.assert_allclose(over[-1, -1], 127.5 + pixels[-1, -1] / 2, atol=1)
    red = np.array([103, 0, 31])  # the last colour of ColorBrewer's RdBu
    ground = 127.5 + pixels[0, 0] / 2
    np.testing.assert_allclose(over[0, 0], ground + sheets.OPACITY * (red - ground), atol=1)
    assert [bar.get_width() for bar in bars.patches] == shares
    assert [label.get_text() for label in bars.get_yticklabels()] == ["a", "b", "c"]
    assert [label.get_text() for label in key.get_yticklabels()] == ["no", "0", "yes"]
    assert "$a$" in [text.get_text() for text in figures[0].texts]


def test_a_sweep_has_sheets_with_the_maps_of_all_methods(tmp_path, monkeypatch):
    drawn, files = [], ["a/cat.png", "../../b/cat.png"]
    monkeypatch.setattr(sweep_maps, "draw_sheet", lambda sheet, path: drawn.append((sheet, path)))
    pictures = np.arange(2 * 3 * 70 * 70).reshape(2, 3, 70, 70).astype(np.uint8)
    runs = [SimpleNamespace(label=label, folder=tmp_path / label) for label in ("one", "two")]
    for number, run in enumerate(runs):
        (run.folder / "artefacts").mkdir(parents=True)
        arrays = {"pictures": pictures, "maps": np.full((2, 3, 70, 70), number + 1.0), "target": np.zeros(2, int)}
        names = {"files": np.array(files), "ends": np.array(["no", "yes"]), "target_names": np.array(["x", "x"])}
        np.savez(run.folder / "artefacts" / "maps.npz", **arrays, **names)
        rows = [[file, rank, f"{file}{rank}", 0.5 / rank] for file in files for rank in (1, 2)]
        write_csv(run.folder / "predictions.csv", ["file", "rank", "class", "probability"], rows)
    written = sweep_maps.write_maps(runs, tmp_path / "sweep")
    assert written == [tmp_path / "sweep" / "maps.png", tmp_path / "sweep" / "figures"]
    assert [path for _, path in drawn] == [written[1] / "cat.png", written[1] / "cat_2.png"]
    for number, (sheet, _) in enumerate(drawn):
        np.testing.assert_array_equal(sheet.picture(), pictures[number])
        assert [(label, values.mean()) for label, values in sheet.maps] == [("one", 3), ("two", 6)]
        assert (sheet.ends, sheet.values) == (("no", "yes"), [0.5, 0.25])
        assert sheet.names == [f"{files[number]}1", f"{files[number]}2"]
