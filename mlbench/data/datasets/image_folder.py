"""Pictures in folders, one folder a class."""

import hashlib
import json
import secrets
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mlbench.core.atomic_io import move_into_place
from mlbench.core.errors import UserError, require
from mlbench.data.dataset import Arrays, Source

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}


@dataclass(kw_only=True)
class ImageFolder(Source):
    """Files `<path>/train/<class>/*` and `<path>/test/<class>/*`, or `<path>/<class>/*` with every fifth for testing.

    Decoded once, scaled to `size` x `size` and kept in `<data_dir>` as uint8; read from there by memory mapping, so
    that a set larger than memory streams from the disk as the batches ask for it.
    """

    path: str
    size: int
    grey: bool = False

    def __post_init__(self):
        super().__post_init__()
        require(4 <= self.size <= 4096, "size", self.size, "4 to 4096 pixels")

    def files(self, data_dir: Path) -> list[Path]:  # noqa: ARG002
        """The folder."""
        return [Path(self.path).expanduser()]

    def load(self, data_dir: Path) -> Arrays:
        """Map the decoded pictures, after decoding them if the files changed. Raises UserError for bad folders."""
        root = self.files(data_dir)[0].resolve()
        classes, files = listing(root)
        key = [str(root), self.size, self.grey]
        key += [
            [str(path), path.stat().st_mtime_ns, path.stat().st_size, label]
            for s in files.values()
            for path, label in s
        ]
        folder = data_dir / f"image_folder-{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]}"
        if not folder.exists():
            self.decode(files, folder)
        pictures = {
            split: torch.from_numpy(np.load(folder / f"x_{split}.npy", mmap_mode="c")) for split in ("train", "test")
        }
        labels = {split: torch.tensor([label for _, label in files[split]]) for split in ("train", "test")}
        return Arrays(pictures["train"], labels["train"], pictures["test"], labels["test"], classes)

    def decode(self, files: dict[str, list[tuple[Path, int]]], folder: Path) -> None:
        """Write x_train.npy and x_test.npy, uint8 [N, C, H, W], into `folder`, which appears whole."""
        part = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
        try:
            part.mkdir(parents=True)
            for split, entries in files.items():
                shape = (len(entries), 1 if self.grey else 3, self.size, self.size)
                target = np.lib.format.open_memmap(part / f"x_{split}.npy", mode="w+", dtype=np.uint8, shape=shape)
                with ThreadPoolExecutor() as threads:
                    for row, picture in enumerate(threads.map(self.picture, [path for path, _ in entries])):
                        target[row] = picture
                target.flush()
            move_into_place(part, folder)
        except OSError as error:
            raise UserError(f"{error.filename or folder}: {error.strerror or error}") from error
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def picture(self, path: Path) -> np.ndarray:
        """One file."""
        return decoded(path, self.size, self.grey)


def decoded(path: Path, size: int, grey: bool) -> np.ndarray:
    """A file as uint8 [C, H, W]: the centre square, scaled. Raises UserError for what is no picture."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            image = ImageOps.fit(image.convert("L" if grey else "RGB"), (size, size))
            return np.array(image).reshape(size, size, -1).transpose(2, 0, 1)
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{path} is not a picture that can be read ({error})") from error


def listing(root: Path) -> tuple[list[str], dict[str, list[tuple[Path, int]]]]:
    """Class names, and for `train` and `test` the (file, label) pairs in a fixed order. Raises UserError."""
    divided = (root / "train").is_dir() and (root / "test").is_dir()
    top = root / "train" if divided else root
    classes = subfolders(top)
    if len(classes) < 2:
        raise UserError(f"{root}: needed are folders of pictures, one a class (or train/ and test/ holding these)")
    if divided and (unknown := sorted({*subfolders(root / "test")} - {*classes})):
        raise UserError(f"{root / 'test'} holds classes that are not in {top}: {', '.join(unknown)}")
    files: dict[str, list[tuple[Path, int]]] = {"train": [], "test": []}
    for label, name in enumerate(classes):
        if divided:
            for split in files:
                files[split] += [(path, label) for path in images(root / split / name)]
        else:
            for number, path in enumerate(images(root / name)):
                files["test" if number % 5 == 4 else "train"].append((path, label))
    for split, entries in files.items():
        if not entries:
            raise UserError(f"{root}: no pictures for the {split} split")
    return classes, files


def subfolders(folder: Path) -> list[str]:
    """The names of the folders in a folder, sorted, without hidden ones as .ipynb_checkpoints; none without it."""
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def images(folder: Path) -> list[Path]:
    """The pictures of a folder, sorted by name; none when it does not exist."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
