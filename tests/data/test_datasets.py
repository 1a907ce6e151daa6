import contextlib
import gc
import gzip
import hashlib
import pickle
import shutil
import struct
import threading
import typing
import warnings
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from PIL import Image

from mlbench.core.errors import UserError
from mlbench.data.datasets.digits import Digits
from mlbench.data.datasets.downloads import DOWNLOADS, VisionName
from mlbench.data.datasets.image_folder import ImageFolder
from mlbench.data.datasets.npz import Npz
from mlbench.data.datasets.picture_files import list_pictures
from mlbench.data.datasets.torchvision import Vision, pictures
from mlbench.data.npz_format import read_npz


def arrays(**changes):
    good = {
        "x_train": np.zeros((6, 4, 4), np.uint8),
        "y_train": np.array([0, 1, 2, 0, 1, 2]),
        "x_test": np.zeros((3, 4, 4), np.uint8),
        "y_test": np.array([0, 1, 2]),
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def test_grey_and_colour_become_channels_first(tmp_path):
    colour = np.arange(6 * 4 * 5 * 3, dtype=np.uint8).reshape(6, 4, 5, 3)
    np.savez(tmp_path / "grey.npz", **arrays())
    np.savez(tmp_path / "colour.npz", **arrays(x_train=colour, x_test=colour[:3], classes=np.array(["a", "b", "c"])))
    grey, read = read_npz(tmp_path / "grey.npz"), read_npz(tmp_path / "colour.npz")
    assert grey.x_train.shape == (6, 1, 4, 4)
    assert grey.classes == ["0", "1", "2"]
    assert read.classes == ["a", "b", "c"]
    assert torch.equal(read.x_train[2, 1], torch.from_numpy(colour[2, :, :, 1]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_test": None}, "y_test missing"),
        ({"x_train": np.zeros((6, 4, 4))}, r"x_train is float64 \[6, 4, 4\]; needed is uint8"),
        ({"x_train": np.zeros((6, 4), np.uint8)}, r"x_train is uint8 \[6, 4\]"),
        ({"x_test": np.zeros((0, 4, 4), np.uint8)}, "x_test"),
        ({"y_train": np.zeros(5, int)}, "6 whole numbers"),
        ({"y_train": np.zeros(6)}, "y_train is float64"),
        ({"y_test": np.array([0, 1, 3])}, r"labels 0..3; allowed are 0..2"),
        ({"y_train": np.array([0, 1, 2, 0, 1, -1])}, "labels -1"),
        ({"classes": np.array(["a", "b"])}, "allowed are 0..1"),
        ({"x_test": np.zeros((3, 5, 5), np.uint8)}, "differ in shape"),
        ({"x_train": np.zeros((6, 0, 4), np.uint8)}, r"x_train is uint8 \[6, 0, 4\]; .* none of them 0"),
        ({"classes": np.array("abc")}, r"classes is <U3 \[\]; needed is a list of names"),
        ({"y_train": np.array([0, 1, 2, 0, 1, 10**9])}, "labels up to 1000000000 of 6 examples"),
        ({"classes": np.array(["a", "b", "c", "b"])}, "classes holds 'b' more than once"),
        ({"classes": np.zeros(0, "U1")}, "needed is a list of names"),
        ({"classes": np.zeros(10**6, "S0")}, "needed is a list of names"),
        ({"x_val": np.zeros((2, 4, 4), np.uint8)}, "holds x_val and no y_val; validation needs both"),
        ({"y_val": np.zeros(2, int)}, "holds y_val and no x_val; validation needs both"),
        ({"x_val": np.zeros((2, 5, 5), np.uint8), "y_val": np.zeros(2, int)}, "training and validation .* differ"),
        ({"x_val": np.zeros((2, 4, 4)), "y_val": np.zeros(2, int)}, "x_val is float64"),
        ({"x_val": np.zeros((2, 4, 4), np.uint8), "y_val": np.zeros(3, int)}, "y_val .* needed are 2 whole numbers"),
        ({"x_val": np.zeros((2, 4, 4), np.uint8), "y_val": np.array([0, 3])}, r"y_val holds labels 0..3; .* are 0..2"),
        ({"x_train": np.zeros((6, 3, 32, 32), np.uint8)}, r"\[6, 3, 32, 32\].*channels last\nstore x_train.transpose"),
        ({"x_test": np.zeros((3, 1, 28, 28), np.uint8)}, r"store x_test.transpose\(0, 2, 3, 1\)"),
        ({"x_train": np.zeros((6, 4, 20, 30), np.uint8)}, "channels last"),
        ({"x_train": np.zeros((6, 13, 64, 64), np.uint8)}, "channels last"),
    ],
)
def test_a_file_that_breaks_the_format_is_refused(tmp_path, changes, message):
    np.savez(tmp_path / "bad.npz", **arrays(**changes))
    with pytest.raises(UserError, match=message) as error:
        read_npz(tmp_path / "bad.npz")
    assert str(tmp_path / "bad.npz") in str(error.value)


@pytest.mark.parametrize(
    "shape", [(32, 32, 3), (3, 3, 3), (3, 20, 1), (64, 64, 13), (4, 4, 13), (8, 8, 8), (30, 40, 9)]
)
def test_channels_that_are_last_are_taken(tmp_path, shape):
    x = np.zeros((6, *shape), np.uint8)
    np.savez(tmp_path / "a.npz", **arrays(x_train=x, x_test=x[:3]))
    assert read_npz(tmp_path / "a.npz").x_train.shape == (6, shape[2], *shape[:2])


def test_validation_of_a_file_is_read_and_what_is_not_read_is_said(tmp_path):
    x_val = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
    x = np.zeros((6, 4, 5, 3), np.uint8)
    whole = arrays(x_train=x, x_test=x[:3], x_val=x_val, y_val=np.array([2, 0]))
    np.savez(tmp_path / "val.npz", **whole)
    read = read_npz(tmp_path / "val.npz")
    assert torch.equal(read.x_val, torch.from_numpy(x_val).permute(0, 3, 1, 2))
    assert (read.y_val.tolist(), read.remarks) == ([2, 0], [])
    np.savez(tmp_path / "more.npz", **arrays(x_valid=x_val, weights=np.ones(6)))
    read = read_npz(tmp_path / "more.npz")
    assert read.x_val is None
    assert read.remarks == [f"{tmp_path / 'more.npz'} also holds x_valid, weights; not read; did you mean 'x_val'?"]


def test_names_of_classes_in_bytes_are_text(tmp_path):
    np.savez(tmp_path / "a.npz", **arrays(classes=np.array([b"cat", b"dog", b"Kuh"])))
    assert read_npz(tmp_path / "a.npz").classes == ["cat", "dog", "Kuh"]


class Trap:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was run",))


def test_broken_files_and_pickles_are_refused_and_named(tmp_path):
    np.savez(tmp_path / "good.npz", **arrays())
    whole = (tmp_path / "good.npz").read_bytes()
    (tmp_path / "truncated.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps(Trap()))
    np.savez(tmp_path / "object.npz", **arrays(y_train=np.array([Trap()] * 6, dtype=object)))
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "array.npz").write_bytes((tmp_path / "array.npy").read_bytes())
    damaged = bytearray(whole)
    damaged[120] ^= 255
    (tmp_path / "damaged.npz").write_bytes(damaged)
    np.savez_compressed(tmp_path / "good_compressed.npz", **arrays())
    packed = (tmp_path / "good_compressed.npz").read_bytes()
    for place in range(30, len(packed), 7):
        flipped = bytearray(packed)
        flipped[place] ^= 255
        (tmp_path / "flipped.npz").write_bytes(flipped)
        with contextlib.suppress(UserError):  # some bytes do not matter; no other exception may come out
            read_npz(tmp_path / "flipped.npz")
    for name in ("truncated", "empty", "pickle", "object", "array", "damaged", "absent"):
        with pytest.raises(UserError, match=f"{name}.npz"):
            read_npz(tmp_path / f"{name}.npz")


def test_npz_paths_are_looked_up_here_and_in_the_data_directory(tmp_path):
    np.savez(tmp_path / "mine.npz", **arrays())
    assert len(Npz(path="mine.npz").load(tmp_path).y_train) == 6
    assert len(Npz(path=str(tmp_path / "mine.npz")).load(tmp_path / "elsewhere").y_train) == 6


def idx(array):
    head = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return gzip.compress(head + array.tobytes())


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A folder served on this machine, from which torchvision's own code downloads and checks MNIST."""
    datasets = pytest.importorskip("torchvision.datasets")
    draws = np.random.default_rng(0)
    content = {
        "train-images-idx3-ubyte": draws.integers(0, 256, (20, 28, 28), dtype=np.uint8),
        "train-labels-idx1-ubyte": np.arange(20, dtype=np.uint8) % 10,
        "t10k-images-idx3-ubyte": draws.integers(0, 256, (10, 28, 28), dtype=np.uint8),
        "t10k-labels-idx1-ubyte": np.arange(10, dtype=np.uint8),
    }
    folder, resources = tmp_path / "mirror", []
    folder.mkdir()
    for name, array in content.items():
        packed = idx(array)
        (folder / f"{name}.gz").write_bytes(packed)
        resources.append((f"{name}.gz", hashlib.md5(packed, usedforsecurity=False).hexdigest()))
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(datasets.MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
        monkeypatch.setattr(datasets.MNIST, "resources", resources)
        yield folder, content
        server.shutdown()
    with warnings.catch_warnings():  # torchvision does not close a connection that failed
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def test_a_torchvision_set_is_fetched_once_into_one_npz(tmp_path, mirror):
    folder, content = mirror
    data = tmp_path / "data"
    read = Vision(name="mnist").load(data)
    assert [path.name for path in data.iterdir()] == ["mnist.npz"]
    assert torch.equal(read.x_train.squeeze(1), torch.from_numpy(content["train-images-idx3-ubyte"]))
    assert read.y_test.tolist() == list(range(10))
    for file in folder.iterdir():
        file.unlink()
    assert torch.equal(Vision(name="mnist").load(data).x_test, read.x_test)


def test_a_download_that_fails_or_does_not_match_names_the_file_to_put_where(tmp_path, mirror):
    folder, _ = mirror
    data = tmp_path / "some" / "data"
    broken = folder / "t10k-labels-idx1-ubyte.gz"
    broken.write_bytes(broken.read_bytes() + b"x")
    with pytest.raises(UserError, match=r"put it at .*some/data/mnist\.npz"):
        Vision(name="mnist").load(data)
    broken.unlink()
    with pytest.raises(UserError, match=r"put it at .*some/data/mnist\.npz"):
        Vision(name="mnist").load(data)
    assert not (tmp_path / "some").exists()


def test_svhn_is_turned_to_the_common_layout():
    class SVHN:
        data = np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5)
        labels = np.array([1, 2])

    found = pictures(SVHN(), "train")
    assert found["x_train"].shape == (2, 4, 5, 3)
    assert found["x_train"][1, 2, 3, 0] == SVHN.data[1, 0, 2, 3]
    assert found["y_train"].tolist() == [1, 2]


def folder_of_pictures(root, names=("cat", "dog"), count=10):
    for label, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (12 + number, 12), (100 * label, number, 7)).save(root / name / f"{number:02d}.png")
    return root


def test_image_folder_is_decoded_once_and_mapped(tmp_path, monkeypatch):
    source = ImageFolder(path=str(folder_of_pictures(tmp_path / "pictures")), size=8)
    first = source.load(tmp_path / "data")
    assert first.classes == ["cat", "dog"]
    assert first.x_train.shape == (16, 3, 8, 8)
    assert first.y_test.tolist() == [0, 0, 1, 1]
    colours = [[0, 4, 7], [0, 9, 7], [100, 4, 7], [100, 9, 7]]
    assert first.x_test[:, :, 3, 3].tolist() == colours
    monkeypatch.setattr(ImageFolder, "decode", lambda *_: pytest.fail("decoded twice"))
    assert torch.equal(source.load(tmp_path / "data").x_train, first.x_train)
    monkeypatch.undo()
    Image.new("RGB", (9, 9), (1, 2, 3)).save(tmp_path / "pictures" / "cat" / "00.png")
    assert source.load(tmp_path / "data").x_train[0, :, 0, 0].tolist() == [1, 2, 3]


def test_image_folder_leaves_alone_what_another_process_decoded_meanwhile(tmp_path):
    root, data = folder_of_pictures(tmp_path / "pictures"), tmp_path / "data"
    source = ImageFolder(path=str(root), size=8)
    source.load(data)
    (done,) = data.iterdir()
    before = (done / "x_train.npy").stat()
    source.decode(list_pictures(root), done)
    assert (done / "x_train.npy").stat() == before
    assert list(data.iterdir()) == [done]


def test_image_folder_with_train_and_test(tmp_path):
    for part, count in (("train", 4), ("test", 3)):
        folder_of_pictures(tmp_path / "p" / part, count=count)
    read = ImageFolder(path=str(tmp_path / "p"), size=8, grey=True).load(tmp_path / "data")
    assert read.x_train.shape == (8, 1, 8, 8)
    assert read.x_test.shape == (6, 1, 8, 8)


def test_image_folder_errors_name_the_place_and_leave_nothing(tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        ImageFolder(path=str(tmp_path / "nowhere"), size=8).load(tmp_path / "data")
    root = folder_of_pictures(tmp_path / "pictures")
    (root / "dog" / "03.png").write_bytes(b"not a picture")
    with pytest.raises(UserError, match=r"03\.png is not a picture"):
        ImageFolder(path=str(root), size=8).load(tmp_path / "data")
    assert not list((tmp_path / "data").iterdir())


@pytest.mark.parametrize(("place", "most"), [(11, None), (36, None), (None, 50)])
def test_a_damaged_picture_and_one_far_too_large_are_named(tmp_path, monkeypatch, place, most):
    root = folder_of_pictures(tmp_path / "pictures")
    file = root / "dog" / "03.png"
    if place is not None:
        content = bytearray(file.read_bytes())
        content[place] = 0
        file.write_bytes(content)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", most)
    with pytest.raises(UserError, match=r"\d\d\.png is not a picture"):
        ImageFolder(path=str(root), size=8).load(tmp_path / "data")


def test_image_folder_takes_no_hidden_folder_for_a_class_and_knows_all_that_are_tested(tmp_path):
    for part in ("train", "test"):
        folder_of_pictures(tmp_path / "p" / part, count=1)
        (tmp_path / "p" / part / ".ipynb_checkpoints").mkdir()
    assert list_pictures(tmp_path / "p").classes == ["cat", "dog"]
    (tmp_path / "p" / "test" / "cow").mkdir()
    with pytest.raises(UserError, match=r"test holds classes that are not in .*train: cow"):
        list_pictures(tmp_path / "p")


def test_fewer_examples_are_drawn_by_the_seed_and_tell_the_same_pictures():
    data = Digits(train_examples=100, test_examples=50)
    one, again, other = (data.stream(None, torch.Generator().manual_seed(seed)).tasks[0] for seed in (0, 0, 1))
    whole = Digits().stream(None, torch.Generator()).tasks[0]
    assert (len(one.train), len(one.test)) == (100, 50)
    assert torch.equal(one.train.rows, again.train.rows)
    assert not torch.equal(one.train.rows, other.train.rows)
    rows = one.train.rows
    assert len(rows.unique()) == 100
    assert torch.equal(one.train.labels, whole.train.labels[rows])
    assert torch.equal(one.train.raw(torch.arange(100)), whole.train.raw(rows))
    assert len(Digits(train_examples=10**6).stream(None, torch.Generator()).tasks[0].train) == len(whole.train)


@pytest.mark.parametrize(
    "words", [("data.train_examples=0",), ("data=split_digits", "lifelong=ewc", "data.source.test_examples=5")]
)
def test_numbers_of_examples_that_make_no_sense(mlbench, words):
    code, _, error = mlbench(*words)
    assert (code, "_examples" in error) == (2, True)
    assert len(error.strip().splitlines()) <= 2


def test_every_download_has_a_name_that_the_config_takes():
    assert typing.get_args(VisionName) == tuple(DOWNLOADS)


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def test_a_damaged_cache_is_decoded_again_and_said(tmp_path):
    source, data = ImageFolder(path=str(folder_of_pictures(tmp_path / "pictures")), size=8), tmp_path / "data"
    expected = source.load(data).x_train.clone()
    (folder,) = data.iterdir()
    for damage in (
        lambda file: file.write_bytes(file.read_bytes()[:200]),
        lambda file: file.write_bytes(b""),
        lambda file: file.unlink(),
        lambda file: np.save(file, np.zeros((16, 3, 8, 8))),
        lambda file: np.save(file, np.zeros((15, 3, 8, 8), np.uint8)),
    ):
        damage(folder / "x_train.npy")
        again = source.load(data)
        assert torch.equal(again.x_train, expected)
        assert again.remarks == [f"{folder} was damaged; its pictures were decoded again"]
        assert source.load(data).remarks == []
    for replacement in (lambda: folder.touch(), lambda: folder.symlink_to(tmp_path / "nowhere")):
        shutil.rmtree(folder)
        replacement()
        assert torch.equal(source.load(data).x_train, expected)


def test_pictures_of_another_version_of_the_decoder_are_not_taken(tmp_path, monkeypatch):
    source, data = ImageFolder(path=str(folder_of_pictures(tmp_path / "pictures")), size=8), tmp_path / "data"
    source.load(data)
    monkeypatch.setattr("mlbench.data.datasets.image_folder.VERSION", 0)
    source.load(data)
    assert len(list(data.iterdir())) == 2


@pytest.mark.parametrize(("most", "remarks"), [(4095, 1), (65535, 0)])
def test_files_that_use_a_part_of_their_depth_are_said(tmp_path, most, remarks):
    for name in ("cat", "dog"):
        (tmp_path / "p" / name).mkdir(parents=True)
        for number in range(5):
            Image.fromarray(np.full((8, 8), most, np.uint16)).save(tmp_path / "p" / name / f"{number}.png")
    read = ImageFolder(path=str(tmp_path / "p"), size=8).load(tmp_path / "data")
    assert len(read.remarks) == remarks
    assert all("the brightest value is 15 of 255; where files use a part" in remark for remark in read.remarks)


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_pictures_for_validation(tmp_path, name):
    for part, count in (("train", 4), ("test", 3), (name, 2)):
        folder_of_pictures(tmp_path / "p" / part, count=count)
    for number in range(2):
        Image.new("RGB", (8, 8), (0, 0, number)).save(tmp_path / "p" / name / "dog" / f"{number:02d}.png")
    read = ImageFolder(path=str(tmp_path / "p"), size=8).load(tmp_path / "data")
    assert (len(read.x_train), len(read.x_test)) == (8, 6)
    assert read.y_val.tolist() == [0, 0, 1, 1]
    assert read.x_val[:, :, 4, 4].tolist() == [[0, 0, 7], [0, 1, 7], [0, 0, 0], [0, 0, 1]]
    assert read.remarks == []


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (("train", "val"), r"holds train/ and val/ and no test/; if val/ is what you test on, rename it test/"),
        (("train",), "holds train/ and no test/"),
        (("train", "test", "val", "valid"), "holds val/ and valid/; one of them can be used"),
    ],
)
def test_parts_that_do_not_fit_together(tmp_path, parts, message):
    for part in parts:
        folder_of_pictures(tmp_path / "p" / part, count=2)
    with pytest.raises(UserError, match=message):
        list_pictures(tmp_path / "p")


def test_every_class_has_a_test_picture_and_large_ones_every_fifth(tmp_path):
    for count in range(2, 13):
        folder_of_pictures(tmp_path / "p", names=(f"{count:02d}",), count=count)
    listing = list_pictures(tmp_path / "p")
    for label, name in enumerate(listing.classes):
        count = int(name)
        tested = [int(path.stem) for path, number in listing.files["test"] if number == label]
        learned = [int(path.stem) for path, number in listing.files["train"] if number == label]
        assert tested == ([count - 1] if count < 5 else [n for n in range(count) if n % 5 == 4])
        assert sorted(tested + learned) == list(range(count))


def test_classes_without_pictures_or_with_one_are_named(tmp_path):
    root = folder_of_pictures(tmp_path / "p")
    (root / "cow").mkdir()
    with pytest.raises(UserError, match=r"p: no pictures of cow\n"):
        list_pictures(root)
    touch(root / "cow" / "more" / "0.png")
    with pytest.raises(UserError, match="no pictures of cow; what is in folders inside them is left out"):
        list_pictures(root)
    touch(root / "cow" / "1.png")
    with pytest.raises(UserError, match="a single picture of cow"):
        list_pictures(root)


def test_a_class_that_is_empty_in_every_part_is_named(tmp_path):
    for part in ("train", "test"):
        folder_of_pictures(tmp_path / "p" / part, count=2)
        (tmp_path / "p" / part / "cow").mkdir()
    with pytest.raises(UserError, match="no pictures of cow"):
        list_pictures(tmp_path / "p")


def test_hidden_files_are_no_pictures_and_what_is_left_out_is_counted(tmp_path):
    root = folder_of_pictures(tmp_path / "animals")
    touch(root / "cat" / "._00.png", root / "cat" / ".DS_Store", root / ".cache" / "1.png")
    assert list_pictures(root).remarks == []
    deep = [root / "cat" / "more" / f"{place}{n}.png" for place in ("", "still/") for n in range(9)]
    touch(
        *deep, root / "cat" / "more" / "._0.png", root / "cat" / "0.heic", root / "cat" / "1.heic", root / "loose.png"
    )
    (root / "dog" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (root / "dog" / "folder.png").mkdir()
    listing = list_pictures(root)
    assert sum(map(len, listing.files.values())) == 20
    assert listing.remarks == [
        "20 files left out in animals/cat/: 18 in sub-folders, 2 with endings that are not pictures (.heic)",
        "1 file left out in animals/dog/: 1 that cannot be opened",
        "1 file left out in animals/: 1 beside the folders of classes",
    ]
    for number in range(6):
        touch(root / f"{number}" / "a.png", root / f"{number}" / "b.png", root / f"{number}" / "c.txt")
    assert list_pictures(root).remarks == [
        "28 files left out in 9 folders of animals: 18 in sub-folders, 1 that cannot be opened, "
        "1 beside the folders of classes, 8 with endings that are not pictures (.heic, .txt)"
    ]


def test_folders_beside_train_and_test_are_counted(tmp_path):
    for part in ("train", "test", "extra"):
        folder_of_pictures(tmp_path / "p" / part, count=2)
    touch(tmp_path / "p" / "test" / "cat" / "notes")
    assert list_pictures(tmp_path / "p").remarks == [
        "1 file left out in p/test/cat/: 1 with endings that are not pictures (none)",
        "4 files left out in p/extra/: 4 in a folder that is no part",
    ]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.txt", b"hello", "a text file$"),
        ("a.csv", b"x,y\n1,2\n", "a text file; data=table reads a .csv"),
        ("a.npz", b"", "an empty file"),
        ("a.npz", b"\x89HDF\r\n\x1a\n" + bytes(9), "HDF5"),
        ("a.npz", bytes(100), "of another kind"),
        ("folder", None, "is a folder, not a .npz; data=image_folder reads"),
    ],
)
def test_what_a_file_is_that_is_no_npz_is_said_and_no_one_is_asked_to_allow_pickles(tmp_path, name, content, told):
    if content is None:
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=told) as failure:
        read_npz(tmp_path / name)
    assert name in str(failure.value)
    assert "allow_pickle" not in str(failure.value)


def test_a_file_in_the_place_of_a_folder_of_pictures_is_said(tmp_path):
    for name, told in (("a.npz", "is a file, not a folder of pictures; data=npz"), ("nowhere", "does not exist")):
        if told.startswith("is"):
            (tmp_path / name).touch()
        with pytest.raises(UserError, match=f"{name} {told}"):
            ImageFolder(path=str(tmp_path / name), size=8).load(tmp_path)
