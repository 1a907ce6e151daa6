"""Stored examples of earlier tasks."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mlbench.data.tasks import Batch, Normalise, Split


@dataclass
class Memory:
    """Pictures as the tasks showed them, with labels and tasks; kept on the device, counted in bytes."""

    pictures: Tensor  # [M, C, H, W] uint8
    labels: Tensor  # [M] int64
    tasks: Tensor  # [M] int64

    @staticmethod
    def of(split: Split, count: int, generator: torch.Generator) -> "Memory":
        """`count` examples of `split` drawn without replacement, or all there are when they are fewer."""
        index = torch.randperm(len(split), generator=generator)[:count].to(split.labels.device)
        return Memory(split.raw(index), split.labels[index], split.tasks(index))

    def __add__(self, other: "Memory") -> "Memory":
        """Both, one behind the other."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Memory(*(torch.cat(pair) for pair in pairs))

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, normalise: Normalise) -> Batch:
        """All of it, ready for the network."""
        return Batch(normalise(self.pictures), self.labels, self.tasks)
