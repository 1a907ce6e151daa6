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

    examples: Tensor  # uint8 [N, C, H, W], or as `modality` says
    modality: Modality = PICTURES
    lengths: Tensor | None = None  # [N] positions of each example that are no padding, where they are counted

    def to(self, device: torch.device) -> None:
        """Move to `device` when half of its free memory holds them; otherwise chunks are moved as they are used."""
        self.modality = self.modality.to(device)
        if device.type == "cuda" and self.examples.nbytes > torch.cuda.mem_get_info(device)[0] // 2:
            return
        self.examples = self.examples.to(device)
        self.lengths = None if self.lengths is None else self.lengths.to(device)


class Transform(Protocol):
    """Turns pictures of the pool into those of a task, uint8 to uint8."""

    def __call__(self, pictures: Tensor, task: int | Tensor) -> Tensor:
        """Return pictures [B, C, H, W] of one task, or of a task for each picture [B]."""
        ...

    def reorder(self, order: list[int]) -> "Transform":
        """Return the transform of the same tasks in another order."""
        ...


@dataclass
class Split:
    """Some examples of a pool, with their labels and tasks."""

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
        """The positions [n] of all examples in this split, in order."""
        return torch.arange(len(self), device=self.labels.device)

    def chunks(self, size: int) -> tuple[Tensor, ...]:
        """Return the positions of all examples, `size` at a time."""
        return self.places.split(size)

    def raw(self, index: Tensor, augment: Augment | None = None) -> Tensor:
        """Return examples as the task shows them, before normalisation.

        Args:
            index: Positions in this split, [b] int64.
            augment: Changes the pictures of the pool before the transform of the task; None leaves them as they are.

        Returns:
            uint8 [b, C, H, W], or as the modality says.
        """
        rows = self.rows.index_select(0, index)
        pictures = self.pool.examples.index_select(0, rows.to(self.pool.examples.device))
        pictures = pictures.to(self.labels.device, non_blocking=True)
        if augment is not None:
            pictures = augment(pictures)
        if self.transform is None:
            return pictures
        return self.transform(pictures, self.task if isinstance(self.task, int) else self.task.index_select(0, index))

    def present(self, index: Tensor, length: int) -> Tensor:
        """Return which of `length` positions of the examples at `index` [b] are no padding, bool [b, length]."""
        rows, lengths = self.rows.index_select(0, index), self.pool.lengths
        lengths = None if lengths is None else lengths.index_select(0, rows.to(lengths.device)).to(rows.device)
        return self.pool.modality.present(self.raw(index), lengths, length)

    def batch(self, index: Tensor, augment: Augment | None = None) -> Batch:
        """Return the normalised examples at `index` [b], with their labels and tasks."""
        return Batch(self.normalise(self.raw(index, augment)), self.labels.index_select(0, index), self.tasks(index))

    def tasks(self, index: Tensor) -> Tensor:
        """Return the task [b] of each example at `index` [b]."""
        if isinstance(self.task, int):
            return torch.full_like(index, self.task)
        return self.task.index_select(0, index)

    @property
    def newest_task(self) -> int:
        """The highest task number (from 0) of any example."""
        return self.task if isinstance(self.task, int) else int(self.task.max())

    def digest(self) -> str:
        """Return a hash of the pool's pictures, the rows of this split and their labels.

        Only some pictures of a pool of more than DIGESTED_BYTES are read.
        """
        pictures = self.pool.examples
        some = pictures[:: max(1, pictures.nbytes // DIGESTED_BYTES)]
        digest = hashlib.blake2b(digest_size=16)
        for tensor in (some, self.rows, self.labels):
            digest.update(tensor.cpu().contiguous().numpy().data)
        return digest.hexdigest()

    def take(self, index: Tensor) -> "Split":
        """Return the split of the examples at `index`, in that order."""
        task = self.task if isinstance(self.task, int) else self.task[index]
        return replace(self, rows=self.rows[index], labels=self.labels[index], task=task)

    def cut(self, fraction: float, generator: torch.Generator) -> tuple["Split", "Split"]:
        """Divide the examples at random into training and validation data.

        Args:
            fraction: Share of the examples for validation, above 0 and below 1.
            generator: Random numbers, on the CPU.

        Returns:
            (training data, validation data).

        Raises:
            UserError: If either would be empty.
        """
        order = torch.randperm(len(self), generator=generator).to(self.rows.device)
        count = validation_size(fraction, len(self))
        return self.take(order[count:]), self.take(order[:count])

    def to(self, device: torch.device) -> "Split":
        """Return the split with indices, labels and constants on `device`; the pool is moved separately."""
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
        """Return the same split with its transform applied in advance, for pictures that are read many times."""
        if self.transform is None:
            return self
        pictures = torch.cat([self.raw(index) for index in self.chunks(1000)])
        return replace(self, pool=replace(self.pool, examples=pictures), rows=self.places, transform=None)

    @staticmethod
    def union(splits: list["Split"]) -> "Split":
        """Return all examples of splits that share one pool and one transform."""
        return replace(
            splits[0],
            rows=torch.cat([s.rows for s in splits]),
            labels=torch.cat([s.labels for s in splits]),
            task=torch.cat([s.tasks(s.places) for s in splits]),
        )


def validation_size(fraction: float, count: int) -> int:
    """Return how many of `count` examples are for validation. Raises UserError if either side would be empty."""
    size = round(fraction * count)
    if fraction and not 0 < size < count:
        raise UserError(f"train.validation={fraction} of {count} examples leaves one side empty")
    return size


def drawn(labels: Tensor, count: int | None, balanced: bool, generator: torch.Generator) -> Tensor:
    """Draw examples without replacement.

    Args:
        labels: Of the examples to draw from, [n].
        count: How many at most; None is all.
        balanced: As many of each class as there are (a small class is taken whole); otherwise whatever their class.
        generator: Random numbers, on the CPU.

    Returns:
        Positions of the examples drawn, in random order.
    """
    order = torch.randperm(len(labels), generator=generator)
    if balanced:
        by_class = labels[order].argsort(stable=True)  # each class in the order drawn
        counts = labels[order][by_class].unique_consecutive(return_counts=True)[1].tolist()
        ranks = torch.empty_like(order)
        ranks[by_class] = torch.cat([torch.arange(0), *(torch.arange(size) for size in counts)])
        order = order[ranks.argsort(stable=True)]  # the first of every class, then the second of every class, ...
    return order[:count]


DIGESTED_BYTES = 2**30
