"""The base classes of datasets, and the `.npz` format of pictures with its checks."""

import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from mlbench.core.errors import UserError, nearest, require
from mlbench.core.foreign_files import LOOKED_AT, is_text, kind_of_file
from mlbench.data.class_names import class_names
from mlbench.data.modality import PICTURES, Modality, Pictures
from mlbench.data.normalisation import Normalise
from mlbench.data.output_heads import SharedHead
from mlbench.data.split import Pool, Split, drawn
from mlbench.data.stream import Stream, Task

LIMITS = ("train_examples", "test_examples")
NEEDED = ("x_train", "y_train", "x_test", "y_test")  # of a .npz of pictures
OPTIONAL = ("x_val", "y_val", "classes")
CHANNELS = (1, 3, 4)  # of pictures, as a rule
MOST_UNSEEN = 1000  # classes without an example and a name: more of them are ids, not labels


@dataclass
class Arrays:
    """A dataset in memory (or mapped into it): pictures, or what `modality` says."""

    x_train: Tensor  # [N, C, H, W] uint8
    y_train: Tensor  # [N] int64
    x_test: Tensor  # [M, C, H, W] uint8
    y_test: Tensor  # [M] int64
    classes: list[str]
    modality: Modality = PICTURES
    x_val: Tensor | None = None  # [V, C, H, W] uint8, where the data comes with a validation part
    y_val: Tensor | None = None  # [V] int64
    remarks: list[str] = field(default_factory=list)  # a line each, such as files that were left out


class Data:
    """Base class of everything that `data=` names: it becomes a stream of one task or more."""

    def files(self, data_dir: Path) -> list[Path]:  # noqa: ARG002
        """Return the files and folders that the data is read from; results depend on them."""
        return []

    def stream(self, data_dir: Path, generator: torch.Generator) -> Stream:
        """Read the data and divide it into tasks.

        Args:
            data_dir: Folder of data files.
            generator: Random numbers, on the CPU.

        Raises:
            UserError: If a file is missing or broken.
        """
        raise NotImplementedError


@dataclass(kw_only=True)
class Source(Data):
    """A plain dataset: a stream with a single task.

    `normalise`: `standardise` (per channel mean 0 and standard deviation 1 over all training examples, those included
    that are not used, are held out, or come in later tasks), `first_task` (the same over the training examples of a
    stream's first task, so that nothing of the future is used) or `unit` (0..255 becomes 0..1, as in the protocol of
    the GEM paper). Training examples of `drop_classes` are kept out of the task and stand by for whoever may learn from
    them: the teacher of a distillation. `train_examples` and `test_examples` are how many are used, drawn by the run's
    seed; null takes all. They are drawn whatever their class, or with `balanced` as many of each class as there are.
    """

    normalise: Literal["standardise", "first_task", "unit"] = field(default="standardise")
    drop_classes: list[int] = field(default_factory=list)  # numbers, from 0
    train_examples: int | None = field(default=None)
    test_examples: int | None = field(default=None)
    balanced: bool = field(default=False)

    def __post_init__(self):
        for name in LIMITS:
            size = getattr(self, name)
            require(size is None or size >= 1, name, size, "1 or more, or null for all")

    def load(self, data_dir: Path) -> Arrays:
        """Read the examples. Raises UserError if a file is missing or broken."""
        raise NotImplementedError

    def normaliser(self, arrays: Arrays) -> Normalise:
        """Return the normalisation that `normalise` asks for: `first_task` over all that is in `arrays`."""
        if self.normalise != "unit":
            return Normalise.fitted(arrays.x_train)
        channels = arrays.x_train.shape[1]
        return Normalise(torch.zeros(channels), torch.full((channels,), 255.0))

    def stream(self, data_dir: Path, generator: torch.Generator) -> Stream:
        """Return a stream of one task with all classes but `drop_classes`."""
        allowed = "standardise here; first_task is for streams of tasks"
        require(self.normalise != "first_task", "normalise", self.normalise, allowed)
        arrays = self.load(data_dir)
        normalise = self.normaliser(arrays)
        whole = lambda x, y: Split(Pool(x, arrays.modality), torch.arange(len(y)), y, 0, normalise)  # noqa: E731
        train = self.sample(whole(arrays.x_train, arrays.y_train), self.train_examples, generator)
        test = self.sample(whole(arrays.x_test, arrays.y_test), self.test_examples, generator)
        validation = None
        if arrays.x_val is not None and arrays.y_val is not None:
            validation = whole(arrays.x_val, arrays.y_val)
        task, count = Task("all classes", train, test, validation=validation), len(arrays.classes)
        without = sorted(set(self.drop_classes))
        if without:
            possible = all(0 <= label < count for label in without) and len(without) < count
            require(
                possible, "drop_classes", self.drop_classes, f"some of the classes 0 to {count - 1}, not all of them"
            )
            outside = torch.isin(train.labels, torch.tensor(without))
            train, rest = (train.take(mask.nonzero().squeeze(1)) for mask in (~outside, outside))
            names = ", ".join(arrays.classes[label] for label in without)
            task = Task(f"all classes but {names}", train, test, rest, validation)
        return Stream([task], None, count, arrays.classes, SharedHead(), remarks=arrays.remarks)

    def sample(self, split: Split, size: int | None, generator: torch.Generator) -> Split:
        """Return at most `size` random examples of `split`, in its order; all for None."""
        if size is None or size >= len(split):
            return split
        return split.take(drawn(split.labels, size, self.balanced, generator).sort().values)


def remarks_of_stream(arrays: Arrays) -> list[str]:
    """Return the remarks on the data of a stream of tasks, which has no use for a validation part."""
    if arrays.y_val is None:
        return arrays.remarks
    unused = f"{len(arrays.y_val)} validation examples of the data are left out: a stream cuts its own off each task"
    return [*arrays.remarks, unused]


def check_complete(source: Source, limits: bool = True) -> None:
    """Raise SettingError if a source leaves out classes or, with `limits`, examples that a stream needs."""
    classes = source.drop_classes
    require(not classes, "source.drop_classes", classes, "[] here; data=mnist can do without classes")
    if not limits:
        return
    for name in LIMITS:
        allowed = f"null in a stream of tasks, which has data.{name.partition('_')[0]}_per_task"
        require(getattr(source, name) is None, f"source.{name}", getattr(source, name), allowed)
    require(not source.balanced, "source.balanced", source.balanced, "false in a stream of tasks")


def check_pictures(arrays: Arrays, purpose: str) -> None:
    """Raise UserError if the examples are no pictures, which `purpose` changes."""
    if type(arrays.modality) is not Pictures:
        raise UserError(f"{purpose} pictures, and this data is {arrays.modality.name}; take split_* data")


def read_npz(path: Path) -> Arrays:
    """Read and check a file in mlbench's format (manual: Your own data); never loads a pickle. Raises UserError."""
    try:
        check_kind(path)
        with path.open("rb") as stream:
            file = np.load(stream, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise UserError(f"{path} holds a single array; needed is a .npz with {', '.join(NEEDED)}")
            missing = [name for name in NEEDED if name not in file.files]
            if missing:
                raise UserError(f"{path}: {', '.join(missing)} missing; an image file holds {', '.join(NEEDED)}")
            arrays = {name: file[name] for name in file.files if name in (*NEEDED, *OPTIONAL)}
            unknown = [name for name in file.files if name not in arrays]
    except FileNotFoundError:
        raise UserError(f"data file {path} does not exist; see `mlbench data`, or set data_dir") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise UserError(f"{path} is not a readable .npz without pickles ({error})") from error
    read = check_arrays(arrays, path)
    if unknown:
        read.remarks.append(f"{path} also holds {', '.join(unknown)}; not read{nearest(unknown[0], OPTIONAL)}")
    return read


def check_kind(path: Path) -> None:
    """Raise UserError for a folder and for a file that does not begin as an archive, or an array, of NumPy."""
    if path.is_dir():
        raise UserError(f"{path} is a folder, not a .npz; data=image_folder reads folders of pictures")
    with path.open("rb") as stream:
        head = stream.read(LOOKED_AT)
    if not head.startswith((b"PK", b"\x93NUMPY")):
        what = kind_of_file(head) or ("a text file" if is_text(head) else "of another kind")
        hint = "; data=table reads a .csv" if path.suffix.lower() == ".csv" else ""
        raise UserError(f"{path} is not a readable .npz: it is {what}{hint}")


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
    return class_names(
        [name.decode(errors="replace") if isinstance(name, bytes) else str(name) for name in names], path
    )


def channels_first(x: np.ndarray) -> Tensor:
    """Pictures [N, H, W] or [N, H, W, C] as [N, C, H, W]."""
    pictures = torch.from_numpy(x)
    return (pictures.unsqueeze(1) if x.ndim == 3 else pictures.permute(0, 3, 1, 2)).contiguous()
