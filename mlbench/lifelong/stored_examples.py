"""Examples of earlier tasks, as a buffer stores them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mlbench.data.normalisation import Normalise
from mlbench.data.split import Augment, Batch, Pool, Split, Transform


@dataclass
class StoredExamples:
    """Pictures with their labels and tasks, on the device.

    The pictures are those that the tasks present or, if they are augmented later, those before the tasks' `transform`
    (permuted pixels cannot be shifted), which must then be passed to `batch` and `split`.
    """

    pictures: Tensor  # [M, C, H, W] uint8
    labels: Tensor  # [M] int64
    tasks: Tensor  # [M] int64
    outputs: Tensor | None = None  # [M, outputs] of the network when they were stored, for methods that need them

    @staticmethod
    def sample(split: Split, count: int, generator: torch.Generator) -> "StoredExamples":
        """`count` examples of `split` drawn without replacement, or all of them when there are fewer."""
        index = torch.randperm(len(split), generator=generator)[:count].to(split.labels.device)
        return StoredExamples(split.raw(index), split.labels[index], split.tasks(index))

    @staticmethod
    def balanced_sample(split: Split, count: int, generator: torch.Generator) -> "StoredExamples":
        """At most `count` examples of `split`, drawn so that each label occurs as often as in `balanced`."""
        order = torch.randperm(len(split), generator=generator).to(split.labels.device)
        index = order[balanced_indices(split.tasks(order), split.labels[order], count)]
        return StoredExamples(split.raw(index), split.labels[index], split.tasks(index))

    def __add__(self, other: "StoredExamples") -> "StoredExamples":
        """The examples of both, `other`'s last."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return StoredExamples(*(None if mine is None else torch.cat([mine, theirs]) for mine, theirs in pairs))

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: Tensor) -> "StoredExamples":
        """The examples at `index` [n], in that order."""
        return StoredExamples(*(None if part is None else part.index_select(0, index) for part in vars(self).values()))

    def balanced(self, count: int) -> "StoredExamples":
        """At most `count` examples, each label of each task as often as any other where there are enough of it.

        Within a label the first examples stay: those that `sample` drew first, or that herding placed first.
        """
        return self.take(balanced_indices(self.tasks, self.labels, count))

    def batch(self, normalise: Normalise, augment: Augment | None = None, transform: Transform | None = None) -> Batch:
        """All examples, ready for the network; `augment` changes the pictures before `transform` does."""
        pictures = self.pictures if augment is None else augment(self.pictures)
        if transform is not None:
            pictures = transform(pictures, self.tasks)
        return Batch(normalise(pictures), self.labels, self.tasks)

    def split(self, normalise: Normalise, transform: Transform | None = None) -> Split:
        """All examples as data for training or evaluation."""
        rows = torch.arange(len(self), device=self.labels.device)
        return Split(Pool(self.pictures), rows, self.labels, self.tasks, normalise, transform)


def balanced_indices(tasks: Tensor, labels: Tensor, count: int) -> Tensor:
    """Which of the examples to keep so that all labels of all tasks occur equally often.

    The first example of each label of each task comes first, then the second of each, and so on.

    Args:
        tasks: The task [M] of each example.
        labels: The label [M] of each example.
        count: How many to keep, at most.

    Returns:
        The indices of the examples to keep, ascending, [min(M, count)].
    """
    groups = torch.stack([tasks, labels], 1).unique(dim=0, return_inverse=True)[1]  # [M]
    order = groups.argsort(stable=True)
    sizes = groups.bincount()
    starts = sizes.cumsum(0) - sizes
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order), device=order.device) - starts[groups[order]]
    return rank.argsort(stable=True)[:count].sort().values
