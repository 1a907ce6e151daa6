"""Examples as tensors, cut into splits, tasks and streams of tasks.

Most are pictures; texts and sounds stand in the same pools (kinds.py). Pictures stay uint8 [N, C, H, W] in one pool
that all tasks share; a split names rows of it. Floats come into being a chunk at a time: gathered, transformed
(permuted, rotated) and normalised together, then cut into batches.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from mlbench import squares
from mlbench.data.heads import SharedHead
from mlbench.data.kinds import Moves, Properties, Sound, Text
from mlbench.data.preprocessing import AsIds, Normalise
from mlbench.errors import UserError

Augment = Callable[[Tensor], Tensor]  # uint8 [B, C, H, W] in and out
Scenario = Literal["task", "domain", "class"]


class Batch(NamedTuple):
    """Examples ready for the network; the task of each travels along, so that replayed ones keep their head."""

    x: Tensor  # [B, C, H, W] float
    y: Tensor  # [B] int64
    task: Tensor  # [B] int64


@dataclass
class Pool:
    """Pictures that several splits share, so that they lie in memory, and on the device, once."""

    pictures: Tensor  # [N, C, H, W] uint8; of texts int32 [N, L], of sounds float [N, 1, bands, frames]

    def to(self, device: torch.device) -> None:
        """Move to `device` when half of its free memory holds them; otherwise chunks are moved as they are used."""
        if device.type == "cuda" and self.pictures.nbytes > torch.cuda.mem_get_info(device)[0] // 2:
            return
        self.pictures = self.pictures.to(device)


class Transform(Protocol):
    """What makes a task's pictures out of the pool's: uint8 in, uint8 out."""

    def __call__(self, pictures: Tensor, task: int | Tensor) -> Tensor:
        """Pictures [B, C, H, W] of one task, or of a task each [B]."""


@dataclass
class Split:
    """Some examples: rows of a pool, their labels and tasks."""

    pool: Pool
    rows: Tensor  # [n] int64, into the pool
    labels: Tensor  # [n] int64
    task: int | Tensor  # one for all, or [n] int64
    normalise: Normalise | AsIds
    transform: Transform | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def places(self) -> Tensor:
        """The places [n] of all examples, in order."""
        return torch.arange(len(self), device=self.labels.device)

    def chunks(self, size: int) -> tuple[Tensor, ...]:
        """The places of all examples, `size` at a time."""
        return self.places.split(size)

    def raw(self, index: Tensor, augment: Augment | None = None) -> Tensor:
        """The pictures at `index` [b] as the task shows them, uint8 [b, C, H, W]; `augment` changes them before."""
        rows = self.rows.index_select(0, index)
        pictures = self.pool.pictures.index_select(0, rows.to(self.pool.pictures.device))
        pictures = pictures.to(self.labels.device, non_blocking=True)
        if augment is not None:
            pictures = augment(pictures)
        if self.transform is None:
            return pictures
        return self.transform(pictures, self.task if isinstance(self.task, int) else self.task.index_select(0, index))

    def batch(self, index: Tensor, augment: Augment | None = None) -> Batch:
        """The examples at `index` [b], normalised."""
        return Batch(self.normalise(self.raw(index, augment)), self.labels.index_select(0, index), self.tasks(index))

    def tasks(self, index: Tensor) -> Tensor:
        """The task [b] of each example at `index`."""
        if isinstance(self.task, int):
            return torch.full_like(index, self.task)
        return self.task.index_select(0, index)

    @property
    def newest_task(self) -> int:
        """The highest task number (from 0) of any example."""
        return self.task if isinstance(self.task, int) else int(self.task.max())

    def digest(self) -> str:
        """A hash of the pool's pictures, and of which of them these examples are with what labels.

        Of a pool of more than DIGESTED_BYTES only some pictures are read.
        """
        pictures = self.pool.pictures
        some = pictures[:: max(1, pictures.nbytes // DIGESTED_BYTES)]
        found = hashlib.blake2b(digest_size=16)
        for tensor in (some, self.rows, self.labels):
            found.update(tensor.cpu().contiguous().numpy())
        return found.hexdigest()

    def take(self, index: Tensor) -> "Split":
        """The split of the examples at `index`, in that order."""
        task = self.task if isinstance(self.task, int) else self.task[index]
        return replace(self, rows=self.rows[index], labels=self.labels[index], task=task)

    def cut(self, fraction: float, generator: torch.Generator) -> tuple["Split", "Split"]:
        """(the rest, a random `fraction`): training and validation data. Raises UserError if either would be empty."""
        order = torch.randperm(len(self), generator=generator).to(self.rows.device)
        count = validation_size(fraction, len(self))
        return self.take(order[count:]), self.take(order[:count])

    def to(self, device: torch.device) -> "Split":
        """Indices, labels and constants on `device`; the pool goes by itself."""
        task = self.task if isinstance(self.task, int) else self.task.to(device)
        normalise, transform = self.normalise.to(device), self.transform
        if isinstance(transform, nn.Module):
            transform = transform.to(device)
        return replace(
            self,
            rows=self.rows.to(device),
            labels=self.labels.to(device),
            task=task,
            normalise=normalise,
            transform=transform,
        )

    def settled(self) -> "Split":
        """The same split with its transform done once and kept as uint8, for pictures that are read again and again."""
        if self.transform is None:
            return self
        pictures = torch.cat([self.raw(index) for index in self.chunks(1000)])
        return replace(self, pool=Pool(pictures), rows=self.places, transform=None)

    @staticmethod
    def union(splits: list["Split"]) -> "Split":
        """All examples of splits that share one pool and one transform."""
        return replace(
            splits[0],
            rows=torch.cat([s.rows for s in splits]),
            labels=torch.cat([s.labels for s in splits]),
            task=torch.cat([s.tasks(s.places) for s in splits]),
        )


@dataclass
class Planted(Moves):
    """Where the answer stands in pictures that were given one: for scoring explanations, not for learning."""

    train: Tensor  # [N, 2] row and column of its upper left corner in each picture of the training pool, -1 for none
    test: Tensor  # [M, 2] the same of the test pool
    size: int  # pixels a side
    clean: Split  # the test pictures as they were before

    def masks(self, corners: Tensor, sides: tuple[int, int]) -> Tensor:
        """True inside the answer: bool [n, H, W] of corners [n, 2]; nowhere where there is none."""
        return squares.inside(corners, self.size, sides) & (corners[:, 0, None, None] >= 0)


@dataclass
class Task(Moves):
    """One thing to learn, with the data to learn it from and to be tested on."""

    name: str
    train: Split
    test: Split
    dropped: Split | None = None  # training examples of classes that `data.drop_classes` keeps out of `train`
    validation: Split | None = None  # where the data has its own; otherwise it is cut from `train`
    planted: Planted | None = None
    properties: Properties | None = None
    text: Text | None = None
    sound: Sound | None = None

    def splits(self) -> list[Split]:
        """All there are."""
        clean = None if self.planted is None else self.planted.clean
        packed = None if self.text is None else self.text.packed
        found = (self.train, self.test, self.validation, self.dropped, clean, packed)
        return [split for split in found if split is not None]


@dataclass
class Corrections:
    """Which true labels the users of a deployed model give: a share `rate` of its `errors`, or of all (`random`)."""

    rate: float
    of: Literal["errors", "random"]

    def chosen(self, wrong: Tensor, generator: torch.Generator) -> Tensor:
        """The places of the corrected examples, given which answers were `wrong` [n] bool.

        Whose turn it is is drawn before the answers are looked at, so that methods with the same errors get the same
        labels.
        """
        order = torch.randperm(len(wrong), generator=generator)
        candidates = order[wrong[order]] if self.of == "errors" else order
        return candidates[: round(self.rate * len(candidates))].sort().values


@dataclass
class Stream:
    """Tasks in the order in which they are learned."""

    tasks: list[Task]
    scenario: Scenario | None  # None: a single task
    outputs: int  # width of the network's last layer
    classes: list[str]
    heads: SharedHead
    feedback: Corrections | None = None  # the tasks after the first are rounds that a deployed model serves

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(C, H, W) of a picture, (L,) of a text."""
        return tuple(self.tasks[0].train.pool.pictures.shape[1:])

    def seen_through(self, normalise: Normalise | AsIds) -> None:
        """Normalise all examples so: as a network was trained that comes from elsewhere."""
        for split in (split for task in self.tasks for split in task.splits()):
            split.normalise = normalise

    def to(self, device: torch.device) -> "Stream":
        """The stream on `device`, each shared pool moved once, test pictures settled where that costs little memory."""
        for pool in {id(split.pool): split.pool for task in self.tasks for split in task.splits()}.values():
            pool.to(device)
        settle = sum(len(t.test) for t in self.tasks) * self.tasks[0].test.pool.pictures[0].nbytes <= SETTLED_BYTES
        tasks = [task.to(device) for task in self.tasks]
        if settle:
            tasks = [replace(task, test=task.test.settled()) for task in tasks]
        return replace(self, tasks=tasks)


def validation_size(fraction: float, count: int) -> int:
    """How many of `count` examples `cut` takes away; 0 for 0. Raises UserError if either side would be empty."""
    taken = round(fraction * count)
    if fraction and not 0 < taken < count:
        raise UserError(f"train.validation={fraction} of {count} examples leaves one side empty")
    return taken


DIGESTED_BYTES = 2**30
SETTLED_BYTES = 512 * 2**20  # 20 permuted MNIST test sets are 157 MB; permuting costs as much as classifying
