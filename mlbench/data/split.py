"""Examples as tensors, cut into splits.

Their pool says what they are: pictures or another modality (modality.py). Pictures stay uint8 [N, C, H, W] in one
pool that all tasks share; a split names rows of it. Floats come into being a chunk at a time: gathered, transformed
(permuted, rotated) and normalised together, then cut into batches.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from mlbench.core.errors import UserError
from mlbench.data.modality import PICTURES, Modality
from mlbench.data.normalisation import AsIds, Normalise

Augment = Callable[[Tensor], Tensor]  # uint8 [B, C, H, W] in and out


class Batch(NamedTuple):
    """Examples ready for the network; the task of each travels along, so that replayed ones keep their head."""

    x: Tensor  # [B, C, H, W] float
    y: Tensor  # [B] int64
    task: Tensor  # [B] int64


@dataclass
class Pool:
    """Examples that several splits share, so that they lie in memory, and on the device, once."""

    pictures: Tensor  # uint8 [N, C, H, W], or as `modality` says
    modality: Modality = PICTURES
    lengths: Tensor | None = None  # [N] positions of each example that are no padding, where they are counted

    def to(self, device: torch.device) -> None:
        """Move to `device` when half of its free memory holds them; otherwise chunks are moved as they are used."""
        self.modality = self.modality.to(device)
        if device.type == "cuda" and self.pictures.nbytes > torch.cuda.mem_get_info(device)[0] // 2:
            return
        self.pictures = self.pictures.to(device)
        self.lengths = None if self.lengths is None else self.lengths.to(device)


class Transform(Protocol):
    """What makes a task's pictures out of the pool's: uint8 in, uint8 out."""

    def __call__(self, pictures: Tensor, task: int | Tensor) -> Tensor:
        """Pictures [B, C, H, W] of one task, or of a task each [B]."""
        ...

    def reorder(self, order: list[int]) -> "Transform":
        """The transform of the same tasks in another order."""
        ...


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

    def present(self, index: Tensor, length: int) -> Tensor:
        """Which of `length` positions of the examples at `index` [b] are no padding: bool [b, length]."""
        rows, lengths = self.rows.index_select(0, index), self.pool.lengths
        lengths = None if lengths is None else lengths.index_select(0, rows.to(lengths.device)).to(rows.device)
        return self.pool.modality.present(self.raw(index), lengths, length)

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
        digest = hashlib.blake2b(digest_size=16)
        for tensor in (some, self.rows, self.labels):
            digest.update(tensor.cpu().contiguous().numpy().data)
        return digest.hexdigest()

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

    def with_transform_applied(self) -> "Split":
        """The same split with its transform done once and kept as uint8, for pictures that are read again and again."""
        if self.transform is None:
            return self
        pictures = torch.cat([self.raw(index) for index in self.chunks(1000)])
        return replace(self, pool=replace(self.pool, pictures=pictures), rows=self.places, transform=None)

    @staticmethod
    def union(splits: list["Split"]) -> "Split":
        """All examples of splits that share one pool and one transform."""
        return replace(
            splits[0],
            rows=torch.cat([s.rows for s in splits]),
            labels=torch.cat([s.labels for s in splits]),
            task=torch.cat([s.tasks(s.places) for s in splits]),
        )


def validation_size(fraction: float, count: int) -> int:
    """How many of `count` examples `cut` takes away; 0 for 0. Raises UserError if either side would be empty."""
    size = round(fraction * count)
    if fraction and not 0 < size < count:
        raise UserError(f"train.validation={fraction} of {count} examples leaves one side empty")
    return size


DIGESTED_BYTES = 2**30
