"""The `.npz` format of pictures (manual: Your own data): reading it, and its checks."""

import math
import sys
import tokenize
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

from mlbench.core.errors import UserError, first_line, nearest
from mlbench.core.foreign_files import LOOKED_AT, is_text, kind_of_file
from mlbench.core.input_files import open_regular
from mlbench.core.machine_memory import memory_bytes
from mlbench.data.class_names import class_names
from mlbench.data.dataset import Arrays

NEEDED = ("x_train", "y_train", "x_test", "y_test")
OPTIONAL = ("x_val", "y_val", "classes")
CHANNELS = (1, 3, 4)  # of pictures, as a rule
# what numpy and zipfile raise for damaged files; numpy parses a header as Python does
READ_ERRORS = (OSError, ValueError, EOFError, SyntaxError, TypeError, KeyError, RecursionError, MemoryError)
READ_ERRORS += (OverflowError, NotImplementedError, RuntimeError, tokenize.TokenError, zipfile.BadZipFile, zlib.error)
TOO_LARGE = "this machine has less memory\ndata=image_folder reads pictures from files, as they are needed"
MOST_UNSEEN = 1000  # classes without an example and a name: more of them are ids, not labels


def read_npz(path: Path) -> Arrays:
    """Read and check a file in mlbench's format (manual: Your own data); never loads a pickle. Raises UserError."""
    try:
        check_kind(path)
        with (
            warnings.catch_warnings(),
            open_regular(path) as stream,
            np.load(stream, allow_pickle=False) as file,
        ):
            warnings.simplefilter("ignore", UserWarning)  # of headers by Python 2
            missing = [name for name in NEEDED if name not in file.files]
            if missing:
                raise UserError(f"{path}: {', '.join(missing)} missing; an image file holds {', '.join(NEEDED)}")
            wanted = [name for name in file.files if name in (*NEEDED, *OPTIONAL)]
            if (size := check_sizes(stream, wanted)) > memory_bytes():
                raise UserError(f"{path} holds {size / 1e9:.1f} GB of arrays, and {TOO_LARGE}")
            try:
                arrays = {name: file[name] for name in wanted}
            except MemoryError:
                raise UserError(f"{path} could not be read: {TOO_LARGE}") from None
            unknown = [name for name in file.files if name not in arrays]
    except FileNotFoundError:
        raise UserError(f"data file {path} does not exist; see `mlbench data`, or set data_dir") from None
    except READ_ERRORS as error:
        reason = first_line(error)
        raise UserError(f"{path} is not a readable .npz without pickles ({reason})") from error
    read = check_arrays(arrays, path)
    if unknown:
        read.remarks.append(f"{path} also holds {', '.join(unknown)}; not read{nearest(unknown[0], OPTIONAL)}")
    return read


def check_kind(path: Path) -> None:
    """Raise UserError for a folder and for a file that does not begin as an archive, or an array, of NumPy."""
    if path.is_dir():
        raise UserError(f"{path} is a folder, not a .npz; data=image_folder reads folders of pictures")
    with open_regular(path) as stream:
        head = stream.read(LOOKED_AT)
    if head.startswith(b"\x93NUMPY"):
        raise UserError(f"{path} holds a single array; needed is a .npz with {', '.join(NEEDED)}")
    if not head.startswith(b"PK"):
        what = kind_of_file(head) or ("a text file" if is_text(head) else "of another kind")
        hint = "; data=table reads a .csv" if path.suffix.lower() == ".csv" else ""
        raise UserError(f"{path} is not a readable .npz: it is {what}{hint}")


def check_sizes(stream: IO[bytes], names: list[str]) -> int:
    """The bytes of all arrays, before numpy makes room for them. Raises ValueError unless they are what headers say."""
    total = 0
    with zipfile.ZipFile(stream) as archive:
        for name in names:
            member = f"{name}.npy" if f"{name}.npy" in archive.namelist() else name
            with archive.open(member) as part:
                major, minor = np.lib.format.read_magic(part)
                if (major, minor) not in ((1, 0), (2, 0), (3, 0)):
                    raise ValueError(f"{name} is of version {major}.{minor} of NumPy's format")
                # a header of version 3 is one of version 2 in UTF-8, and those of plain arrays are in ASCII
                header = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
                shape, _, kind = header(part)
                there = archive.getinfo(member).file_size - part.tell()
            if any(type(side) is not int or side < 0 for side in shape) or kind.hasobject:
                raise ValueError(f"{name} is {kind} {list(shape)}")
            if kind.itemsize == 0 or math.prod(shape) * kind.itemsize != there:
                raise ValueError(f"{name} is {kind} {list(shape)}, and the file has {there} bytes of it")
            total += there
    return total


def check_arrays(arrays: dict[str, np.ndarray], path: Path) -> Arrays:
    """Check the arrays of the file `path` and return them as tensors. Raises UserError for a wrong format."""
    if ("x_val" in arrays) != ("y_val" in arrays):
        there, other = ("x_val", "y_val") if "x_val" in arrays else ("y_val", "x_val")
        raise UserError(f"{path} holds {there} and no {other}; validation needs both, or neither")
    parts = [part for part in ("train", "test", "val") if f"x_{part}" in arrays]
    for part in parts:
        check_part(arrays[f"x_{part}"], arrays[f"y_{part}"], part, path)
    classes = check_classes(arrays, path)
    for part in parts:
        y = arrays[f"y_{part}"]
        if int(y.min()) < 0 or int(y.max()) >= len(classes):
            allowed = f"0..{len(classes) - 1}"
            raise UserError(f"{path}: y_{part} holds labels {y.min()}..{y.max()}; allowed are {allowed}")
    x = {part: channels_first(arrays[f"x_{part}"]) for part in parts}
    y = {part: torch.from_numpy(arrays[f"y_{part}"].astype(np.int64)) for part in parts}
    for part, name in (("test", "test"), ("val", "validation")):
        if part in x and x[part].shape[1:] != x["train"].shape[1:]:
            raise UserError(f"{path}: training and {name} pictures differ in shape")
    return Arrays(x["train"], y["train"], x["test"], y["test"], classes, x_val=x.get("val"), y_val=y.get("val"))


def check_part(x: np.ndarray, y: np.ndarray, part: str, path: Path) -> None:
    """Check types and shapes of the pictures and labels of one part of the file `path`. Raises UserError."""
    if x.dtype != np.uint8 or x.ndim not in (3, 4) or not x.size:
        needed = "uint8 [N, H, W] or [N, H, W, C], none of them 0"
        raise UserError(f"{path}: x_{part} is {x.dtype} {list(x.shape)}; needed is {needed}")
    if x.ndim == 4 and has_channels_first(*x.shape[1:]):
        raise UserError(
            f"{path}: x_{part} is {list(x.shape)}, and needed is [N, H, W, C], the channels last\n"
            f"store x_{part}.transpose(0, 2, 3, 1)"
        )
    if not np.issubdtype(y.dtype, np.integer) or y.shape != x.shape[:1]:
        raise UserError(f"{path}: y_{part} is {y.dtype} {list(y.shape)}; needed are {len(x)} whole numbers")


def has_channels_first(second: int, third: int, last: int) -> bool:
    """Whether the sizes behind N are [C, H, W]: 1, 3 or 4 channels before larger sides, or any number before a square.

    More channels than 4, as of satellites, are fine behind the sides; a square before the last size is a picture.
    """
    return second < last and second != third and last not in CHANNELS and (second in CHANNELS or third == last)


def check_classes(arrays: dict[str, np.ndarray], path: Path) -> list[str]:
    """The names of the classes: those in the file, else the numbers up to the largest in y_train. Raises UserError."""
    y, names = arrays["y_train"], arrays.get("classes")
    most = len(y) + MOST_UNSEEN
    if names is None:
        if int(y.max()) >= most:
            raise UserError(f"{path}: y_train holds labels up to {y.max()} of {len(y)} examples; number them from 0")
        return [str(label) for label in range(int(y.max()) + 1)]
    if names.ndim != 1 or not 0 < len(names) <= most:
        raise UserError(f"{path}: classes is {names.dtype} {list(names.shape)}; needed is a list of names")
    if names.dtype.kind == "U" and (names.astype(names.dtype.newbyteorder("=")).view(np.uint32) > sys.maxunicode).any():
        raise UserError(f"{path}: a name in classes is not valid Unicode")
    return class_names(
        [name.decode(errors="replace") if isinstance(name, bytes) else str(name) for name in names], path
    )


def channels_first(x: np.ndarray) -> Tensor:
    """Pictures [N, H, W] or [N, H, W, C] as [N, C, H, W]."""
    pictures = torch.from_numpy(x)
    return (pictures.unsqueeze(1) if x.ndim == 3 else pictures.permute(0, 3, 1, 2)).contiguous()
