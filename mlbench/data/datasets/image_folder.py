"""Pictures in folders, one folder a class."""

import hashlib
import json
import os
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mlbench.core.atomic_io import move_into_place, part_folder
from mlbench.core.errors import UserError, require
from mlbench.core.input_files import not_regular
from mlbench.core.user_path import user_path
from mlbench.data.dataset import Arrays, Source
from mlbench.data.datasets.picture_files import Listing, list_pictures
from mlbench.data.npz_format import READ_ERRORS
from mlbench.data.picture_decoder import VERSION, decode_pictures

SIDE = 32  # pixels, where nothing says how many
DARK = 32  # of 255: what stays below has lost most of its grey values, as 12 bits in files of 16
LOOKED_AT = 1000  # pictures, for the brightest value


@dataclass(kw_only=True)
class ImageFolder(Source):
    """Files `<path>/train/<class>/*` and `<path>/test/<class>/*`, or `<path>/<class>/*` with every fifth for testing.

    Beside train/ and test/ there may be val/ (or valid/, validation/), whose pictures are for validation. All are
    decoded once, scaled to `size` x `size` and kept in `<data_dir>` as uint8; read from there by memory mapping, so
    that a set larger than memory streams from the disk as the batches ask for it.
    """

    path: str
    size: int | None
    grey: bool = False

    def __post_init__(self):
        super().__post_init__()
        allowed = f"4 to 4096 pixels, or null for those of a network that was trained elsewhere, {SIDE} without one"
        require(self.size is None or 4 <= self.size <= 4096, "size", self.size, allowed)

    @property
    def side(self) -> int:
        """Pixels per side: those of the setting or of the network, or else SIDE."""
        return self.size or (self.record.side if self.record else None) or SIDE

    @property
    def crop(self) -> float:
        """The share of the square in the middle of a picture that is kept."""
        return 1.0 if self.record is None else self.record.crop

    def files(self, data_dir: Path) -> list[Path]:  # noqa: ARG002
        """The folder."""
        return [user_path(self.path)]

    def load(self, data_dir: Path) -> Arrays:
        """Map the decoded pictures, after decoding them if the files changed. Raises UserError for bad folders."""
        root = self.files(data_dir)[0].resolve()
        listing = list_pictures(root)
        folder, remarks = data_dir / f"image_folder-{self.key(root, listing)}", list(listing.remarks)
        if os.path.lexists(folder) and not self.intact(folder, listing):
            remarks.append(f"{folder} was damaged; its pictures were decoded again")
            if folder.is_dir() and not folder.is_symlink():
                shutil.rmtree(folder, ignore_errors=True)
            else:
                folder.unlink()
        if not folder.exists():
            self.decode(listing, folder)
        pictures = self.mapped(folder, listing)
        if (brightest := int(pictures["train"][:LOOKED_AT].max())) < DARK:
            hint = "where files use a part of their depth only, scale them to all of it"
            remarks.append(f"{root}: the brightest value is {brightest} of 255; {hint}")
        labels = {part: torch.tensor([label for _, label in files]) for part, files in listing.files.items()}
        known = (pictures["train"], labels["train"], pictures["test"], labels["test"], listing.classes)
        return Arrays(*known, x_val=pictures.get("val"), y_val=labels.get("val"), remarks=remarks)

    def key(self, root: Path, listing: Listing) -> str:
        """A name for what is decoded: the files as they are now, the settings and the version of the decoder."""
        key: list[object] = [VERSION, str(root), self.side, self.grey, *([self.crop] if self.crop < 1 else [])]
        for part, files in listing.files.items():
            states = [(path, path.stat(), label) for path, label in files]
            key += [part, *([str(path), state.st_mtime_ns, state.st_size, label] for path, state, label in states)]
        return hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]

    def shape(self, count: int) -> tuple[int, int, int, int]:
        """Of an array of `count` pictures."""
        return count, 1 if self.grey else 3, self.side, self.side

    def mapped(self, folder: Path, listing: Listing) -> dict[str, Tensor]:
        """The pictures of each part, uint8 [N, C, H, W]. Raises one of READ_ERRORS where a file is damaged."""
        files = {part: folder / f"x_{part}.npy" for part in listing.files}
        if any(not_regular(file) for file in files.values()):
            raise ValueError(f"{folder} does not hold files")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of headers by Python 2
            pictures = {part: np.load(file, mmap_mode="c") for part, file in files.items()}
        for part, array in pictures.items():
            if array.dtype != np.uint8 or array.shape != self.shape(len(listing.files[part])):
                raise ValueError(f"{folder}: x_{part} is {array.dtype} {list(array.shape)}")
        return {part: torch.from_numpy(array) for part, array in pictures.items()}

    def intact(self, folder: Path, listing: Listing) -> bool:
        """Whether the pictures of each part are there."""
        try:
            self.mapped(folder, listing)
        except READ_ERRORS:
            return False
        return True

    def decode(self, listing: Listing, folder: Path) -> None:
        """Write x_train.npy, x_test.npy and, with one, x_val.npy, uint8 [N, C, H, W], into `folder`, whole or not."""
        try:
            with part_folder(folder) as part_of_it:
                for part, files in listing.files.items():
                    header = {"descr": "|u1", "fortran_order": False, "shape": self.shape(len(files))}
                    # written one after the other, not mapped: a full disk is then an error, not a killed process
                    with (part_of_it / f"x_{part}.npy").open("wb") as file:
                        np.lib.format.write_array_header_1_0(file, header)
                        for picture in decode_pictures([path for path, _ in files], self.side, self.grey, self.crop):
                            file.write(picture.tobytes())
                move_into_place(part_of_it, folder)
        except OSError as error:
            raise UserError(f"{error.filename or folder}: {error.strerror or error}") from error
