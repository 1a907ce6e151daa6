"""Stored examples of earlier tasks."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mlbench.data.normalisation import Normalise
from mlbench.data.split import Augment, Batch, Pool, Split, Transform


@dataclass
class Memory:
    """Pictures with labels and tasks; kept on the device, counted in bytes.

    They are kept as the tasks showed them or, where they will be augmented, as they were before the tasks' `transform`
    (permuted pixels cannot be shifted), which then is given to `batch` and `split`.
    """

    pictures: Tensor  # [M, C, H, W] uint8
    labels: Tensor  # [M] int64
    tasks: Tensor  # [M] int64
    outputs: Tensor | None = None  # [M, outputs] of the network when they were stored, for those who keep them

    @staticmethod
    def of(split: Split, count: int, generator: torch.Generator) -> "Memory":
        """`count` examples of `split` drawn without replacement, or all there are when they are fewer."""
        index = torch.randperm(len(split), generator=generator)[:count].to(split.labels.device)
        return Memory(split.raw(index), split.labels[index], split.tasks(index))

    @staticmethod
    def balanced_of(split: Split, count: int, generator: torch.Generator) -> "Memory":
        """At most `count` examples of `split`, drawn so that each label is there as often as in `balanced`."""
        order = torch.randperm(len(split), generator=generator).to(split.labels.device)
        index = order[evenly(split.tasks(order), split.labels[order], count)]
        return Memory(split.raw(index), split.labels[index], split.tasks(index))

    def __add__(self, other: "Memory") -> "Memory":
        """Both, one behind the other."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Memory(*(None if mine is None else torch.cat([mine, theirs]) for mine, theirs in pairs))

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Tensor) -> "Memory":
        """The examples at `index`, in that order."""
        return Memory(*(None if part is None else part.index_select(0, index) for part in vars(self).values()))

    def balanced(self, count: int) -> "Memory":
        """At most `count` examples, each label of each task as often as any other where there are enough of it.

        Within a label the first ones stay: those that `of` drew first, or that herding put there.
        """
        return self.take(evenly(self.tasks, self.labels, count))

    def batch(self, normalise: Normalise, augment: Augment | None = None, transform: Transform | None = None) -> Batch:
        """All of it, ready for the network; `augment` changes the pictures before `transform` does."""
        pictures = self.pictures if augment is None else augment(self.pictures)
        if transform is not None:
            pictures = transform(pictures, self.tasks)
        return Batch(normalise(pictures), self.labels, self.tasks)

    def split(self, normalise: Normalise, transform: Transform | None = None) -> Split:
        """All of it as training data."""
        rows = torch.arange(len(self), device=self.labels.device)
        return Split(Pool(self.pictures), rows, self.labels, self.tasks, normalise, transform)


def evenly(tasks: Tensor, labels: Tensor, count: int) -> Tensor:
    """The places of at most `count` of the examples [M], rising: first the first of each label of each task, then the
    second of each, and so on.
    """
    groups = torch.stack([tasks, labels], 1).unique(dim=0, return_inverse=True)[1]  # [M]
    order = groups.argsort(stable=True)
    sizes = groups.bincount()
    starts = sizes.cumsum(0) - sizes
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=order.device) - starts[groups[order]]
    return rank.argsort(stable=True)[:count].sort().values
