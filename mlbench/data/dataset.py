"""The base classes of datasets."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor

from mlbench.core.errors import UserError, require
from mlbench.data.modality import PICTURES, Modality, Pictures
from mlbench.data.normalisation import Normalise
from mlbench.data.output_heads import SharedHead
from mlbench.data.split import Pool, Split, drawn
from mlbench.data.stream import Stream, Task
from mlbench.models.network_record import NetworkRecord

LIMITS = ("train_examples", "test_examples")


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

    record: NetworkRecord | None = None
    labelled: ClassVar[bool] = True

    def fit_to(self, record: NetworkRecord) -> None:
        """Give the inputs that a network trained elsewhere takes: their size where none is set, their normalisation."""
        self.record = record
        if isinstance(source := getattr(self, "source", None), Data):
            source.fit_to(record)

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
        """Return the normalisation that `normalise` asks for (`first_task` over all that is in `arrays`), or that of a
        network that was trained elsewhere."""
        channels = arrays.x_train.shape[1]
        if self.record is not None and (known := Normalise.of_record(self.record)) is not None:
            if arrays.modality is PICTURES and channels == 1:
                return Normalise(known.mean.mean().reshape(1), known.std.mean().reshape(1))
            if arrays.modality is not PICTURES or channels != known.mean.numel():
                wanted = known.mean.numel()
                raise UserError(f"the network takes pictures of {wanted} channels, and these have {channels}")
            return known
        if self.normalise != "unit":
            return Normalise.fitted(arrays.x_train)
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
