"""The base classes of datasets, and the `.npz` format of pictures with its checks."""

import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from mlbench.core.errors import UserError, require
from mlbench.data.modality import PICTURES, Modality, Pictures
from mlbench.data.normalisation import Normalise
from mlbench.data.output_heads import SharedHead
from mlbench.data.split import Pool, Split
from mlbench.data.stream import Stream, Task

LIMITS = ("train_examples", "test_examples")
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
    remarks: list[str] = field(default_factory=list)  # what a user should know, such as files left out: a line each


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

    `normalise`: `standardise` (per channel mean 0 and standard deviation 1, from the training data) or `unit`
    (0..255 becomes 0..1, as in the protocol of the GEM paper). Training examples of `drop_classes` are kept out of the
    task and stand by for whoever may learn from them: the teacher of a distillation. `train_examples` and
    `test_examples` are how many are used, drawn by the run's seed; null takes all.
    """

    normalise: Literal["standardise", "unit"] = field(default="standardise")
    drop_classes: list[int] = field(default_factory=list)  # numbers, from 0
    train_examples: int | None = field(default=None)
    test_examples: int | None = field(default=None)

    def __post_init__(self):
        for name in LIMITS:
            size = getattr(self, name)
            require(size is None or size >= 1, name, size, "1 or more, or null for all")

    def load(self, data_dir: Path) -> Arrays:
        """Read the examples. Raises UserError if a file is missing or broken."""
        raise NotImplementedError

    def normaliser(self, arrays: Arrays) -> Normalise:
        """Return the normalisation that the setting `normalise` asks for."""
        if self.normalise == "standardise":
            return Normalise.fitted(arrays.x_train)
        channels = arrays.x_train.shape[1]
        return Normalise(torch.zeros(channels), torch.full((channels,), 255.0))

    def stream(self, data_dir: Path, generator: torch.Generator) -> Stream:
        """Return a stream of one task with all classes but `drop_classes`."""
        arrays = self.load(data_dir)
        normalise = self.normaliser(arrays)
        train, test = (
            sample(Split(Pool(x, arrays.modality), torch.arange(len(y)), y, 0, normalise), size, generator)
            for x, y, size in (
                (arrays.x_train, arrays.y_train, self.train_examples),
                (arrays.x_test, arrays.y_test, self.test_examples),
            )
        )
        task, count = Task("all classes", train, test), len(arrays.classes)
        without = sorted(set(self.drop_classes))
        if without:
            possible = all(0 <= label < count for label in without) and len(without) < count
            require(
                possible, "drop_classes", self.drop_classes, f"some of the classes 0 to {count - 1}, not all of them"
            )
            outside = torch.isin(train.labels, torch.tensor(without))
            train, rest = (train.take(mask.nonzero().squeeze(1)) for mask in (~outside, outside))
            names = ", ".join(arrays.classes[label] for label in without)
            task = Task(f"all classes but {names}", train, test, rest)
        return Stream([task], None, count, arrays.classes, SharedHead())


def sample(split: Split, size: int | None, generator: torch.Generator) -> Split:
    """Return at most `size` random examples of `split`, in its order; all for None."""
    if size is None or size >= len(split):
        return split
    return split.take(torch.randperm(len(split), generator=generator)[:size].sort().values)


def check_complete(source: Source, limits: bool = True) -> None:
    """Raise SettingError if a source leaves out classes or, with `limits`, examples that a stream needs."""
    classes = source.drop_classes
    require(not classes, "source.drop_classes", classes, "[] here; data=mnist can do without classes")
    for name in LIMITS if limits else ():
        allowed = f"null in a stream of tasks, which has data.{name.partition('_')[0]}_per_task"
        require(getattr(source, name) is None, f"source.{name}", getattr(source, name), allowed)


def check_pictures(arrays: Arrays, purpose: str) -> None:
    """Raise UserError if the examples are no pictures, which `purpose` changes."""
    if type(arrays.modality) is not Pictures:
        raise UserError(f"{purpose} pictures, and this data is {arrays.modality.name}; take split_* data")


def read_npz(path: Path) -> Arrays:
    """Read and check a file in mlbench's format (manual: Your own data); never loads a pickle. Raises UserError."""
    needed = ("x_train", "y_train", "x_test", "y_test")
    try:
        with path.open("rb") as stream:
            file = np.load(stream, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise UserError(f"{path} holds a single array; needed is a .npz with {', '.join(needed)}")
            missing = [name for name in needed if name not in file.files]
            if missing:
                raise UserError(f"{path}: {', '.join(missing)} missing; an image file holds {', '.join(needed)}")
            arrays = {name: file[name] for name in file.files if name in (*needed, "classes")}
    except FileNotFoundError:
        raise UserError(f"data file {path} does not exist; see `mlbench data`, or set data_dir") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise UserError(f"{path} is not a readable .npz without pickles ({error})") from error
    return check_arrays(arrays, path)


def check_arrays(arrays: dict[str, np.ndarray], path: Path) -> Arrays:
    """Check the arrays of the file `path` and return them as tensors. Raises UserError for a wrong format."""
    names = arrays.get("classes")
    if names is not None and names.ndim != 1:
        raise UserError(f"{path}: classes is {names.dtype} {list(names.shape)}; needed is a list of names")
    classes = None if names is None else [str(name) for name in names]
    tensors = {}
    for split in ("train", "test"):
        x, y = arrays[f"x_{split}"], arrays[f"y_{split}"]
        if x.dtype != np.uint8 or x.ndim not in (3, 4) or not x.size:
            needed = "uint8 [N, H, W] or [N, H, W, C], none of them 0"
            raise UserError(f"{path}: x_{split} is {x.dtype} {list(x.shape)}; needed is {needed}")
        if not np.issubdtype(y.dtype, np.integer) or y.shape != x.shape[:1]:
            raise UserError(f"{path}: y_{split} is {y.dtype} {list(y.shape)}; needed are {len(x)} whole numbers")
        limit = len(classes) if classes else int(arrays["y_train"].max()) + 1
        if int(y.min()) < 0 or int(y.max()) >= limit:
            raise UserError(f"{path}: y_{split} holds labels {y.min()}..{y.max()}; allowed are 0..{limit - 1}")
        if split == "train" and not classes and limit > len(x) + MOST_UNSEEN:
            raise UserError(f"{path}: y_train holds labels up to {limit - 1} of {len(x)} examples; number them from 0")
        pictures = torch.from_numpy(x)
        pictures = pictures.unsqueeze(1) if x.ndim == 3 else pictures.permute(0, 3, 1, 2)
        tensors[f"x_{split}"] = pictures.contiguous()
        tensors[f"y_{split}"] = torch.from_numpy(y.astype(np.int64))
    if tensors["x_train"].shape[1:] != tensors["x_test"].shape[1:]:
        raise UserError(f"{path}: training and test pictures differ in shape")
    classes = classes or [str(label) for label in range(int(tensors["y_train"].max()) + 1)]
    return Arrays(tensors["x_train"], tensors["y_train"], tensors["x_test"], tensors["y_test"], classes)
