"""Files of data made to harm whoever reads them: one line, nothing that waits for ever, no memory without bytes."""

import io
import os
import struct
import zipfile

import numpy as np
import pytest

from mlbench.core.errors import UserError
from mlbench.core.machine_memory import memory_bytes
from mlbench.data.datasets import conllu
from mlbench.data.datasets.image_folder import ImageFolder
from mlbench.data.datasets.table import Table
from mlbench.data.npz_format import read_npz
from mlbench.data.wave_files import read_wave


def arrays(**changes):
    x, y = np.zeros((4, 3, 3), np.uint8), np.arange(4) % 2
    return {"x_train": x, "y_train": y, "x_test": x, "y_test": y} | changes


def npy(shape, kind="|u1", body=b"", version=(1, 0)):
    """An array's file with this header, whatever its body."""
    text = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H" if version[0] == 1 else "<I", len(text)) + text + body


def npz(path, **members):
    """A .npz with some members as they are given."""
    stream = io.BytesIO()
    np.savez(stream, **arrays())
    with zipfile.ZipFile(stream) as old, zipfile.ZipFile(path, "w") as new:
        for name in {*old.namelist(), *members}:
            new.writestr(name, members.get(name) or old.read(name))


@pytest.mark.parametrize(
    "member",
    [
        npy((2**40,), "|S0"),
        npy((2**40,), "|u1"),
        npy((2**62, 2**62), "<f8"),
        npy((2**40, 0), "|S0"),
        npy((2,), "<U2", b"a\0\0\0b\0\0\0" * 3),
        npy((2,), [("a", "|u1", (2**30,))]),
        npy((2,), ("|u1", (2**30,))),
        npy("(" * 3000),
        npy("-" * 8000 + "1"),
        npy("(True, -2)"),
        npy("(2.0,)"),
        npy("[2]"),
        npy((2,), "|O", b"cos\nsystem\n"),
        npy((2,), "<f8", bytes(15)),
        npy((2,), version=(9, 9)),
        npy((2,), "<U1", b"\0\0\0\x7f" * 2),
        npy("2L,"),
        b"\x93NUMPY",
        b"",
    ],
)
def test_an_array_without_its_bytes_is_refused(tmp_path, member):
    npz(tmp_path / "a.npz", **{"classes.npy": member or b" "})
    with pytest.raises(UserError, match=r"a\.npz") as caught:
        read_npz(tmp_path / "a.npz")
    assert "\n" not in str(caught.value)


def test_a_single_array_is_refused_unread(tmp_path):
    (tmp_path / "a.npz").write_bytes(npy((2**50,)))
    with pytest.raises(UserError, match="holds a single array"):
        read_npz(tmp_path / "a.npz")


def test_a_damaged_picture_is_noticed(tmp_path):
    x = np.arange(36, dtype=np.uint8).reshape(4, 3, 3)
    np.savez(tmp_path / "a.npz", **arrays(x_train=x))
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(whole.replace(bytes(range(36)), bytes(range(35)) + b"\0"))
    with pytest.raises(UserError, match="CRC"):
        read_npz(tmp_path / "a.npz")


def test_every_reader_of_data_refuses_a_fifo(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    table = Table(path=str(tmp_path / "fifo"), target="a")
    readers = [read_npz, lambda path: conllu.read(path, "()"), lambda path: read_wave(path, 8000, 0.05)]
    for read in [*readers, lambda path: table.load(tmp_path)]:
        with pytest.raises(UserError, match=r"fifo.*is a FIFO"):
            read(tmp_path / "fifo")


@pytest.mark.parametrize("spoil", ["fifo", "cut", "header", "folder"])
def test_a_cache_of_pictures_that_is_none_is_made_again(tmp_path, spoil):
    image = pytest.importorskip("PIL.Image")
    for part, name in ((part, name) for part in ("train", "test") for name in ("a", "b")):
        (tmp_path / "pictures" / part / name).mkdir(parents=True)
        image.new("L", (8, 8), 200).save(tmp_path / "pictures" / part / name / "1.png")
    source = ImageFolder(path=str(tmp_path / "pictures"), size=8, grey=True)
    data = tmp_path / "data"
    before = source.load(data).x_train.clone()
    (cached,) = data.glob("image_folder-*/x_train.npy")
    whole = cached.read_bytes()
    cached.unlink()
    if spoil == "fifo":
        os.mkfifo(cached)
    elif spoil == "folder":
        cached.mkdir()
    else:
        cached.write_bytes(whole[:-1] if spoil == "cut" else npy("(" * 3000))
    again = source.load(data)
    assert "was damaged" in again.remarks[-1]
    assert (again.x_train == before).all()


def test_a_table_of_odd_numbers_as_classes(tmp_path):
    digits = "9" * 5000  # more than Python makes a number of
    (tmp_path / "a.csv").write_text("x,kind\n" + f"1,{digits}\n2,{digits}\n3,+-5\n4,+-5\n")
    table = Table(path=str(tmp_path / "a.csv"), target="kind", test_share=0.5)
    assert table.load(tmp_path).classes == ["+-5", digits]


def test_entities_in_a_long_cell_take_no_time():
    assert conllu.entities(["Entity=" + "x" * 200_000], False) == ["O"]
    assert conllu.entities(["Entity=(1-person-x", "_", "Entity=1)", "Entity=x(2-place)", "_"], False) == [
        "B-person", "I-person", "I-person", "B-place", "O",
    ]  # fmt: skip


def test_arrays_that_the_memory_cannot_hold_are_refused_with_the_way_out(tmp_path, monkeypatch):
    many = {"x_train": np.zeros((1000, 30, 30), np.uint8), "y_train": np.arange(1000) % 2}
    np.savez_compressed(tmp_path / "a.npz", **arrays(**many, x_test=np.zeros((4, 30, 30), np.uint8)))
    read_npz(tmp_path / "a.npz")
    monkeypatch.setattr("mlbench.data.npz_format.memory_bytes", lambda: 900_000)
    with pytest.raises(UserError, match=r"a\.npz holds 0\.0 GB of arrays.*\n.*image_folder"):
        read_npz(tmp_path / "a.npz")
    monkeypatch.undo()
    monkeypatch.setattr(np.lib.npyio.NpzFile, "__getitem__", lambda *_: bytearray(2**60))
    with pytest.raises(UserError, match=r"a\.npz could not be read: .*less memory\n.*image_folder"):
        read_npz(tmp_path / "a.npz")


def test_the_memory_is_that_of_the_container(tmp_path, monkeypatch):
    monkeypatch.setattr("mlbench.core.machine_memory.LIMITS", (tmp_path / "none", tmp_path / "max"))
    whole = memory_bytes()
    assert whole > 2**28
    for text, expected in (("max\n", whole), ("1000000\n", 1_000_000), (f"{2**63 - 4096}\n", whole)):
        (tmp_path / "max").write_text(text)
        assert memory_bytes() == expected
