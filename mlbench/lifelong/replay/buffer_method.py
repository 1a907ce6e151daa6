"""Methods that store examples."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from mlbench.core.errors import require
from mlbench.data.split import Split, Transform
from mlbench.data.stream import Stream
from mlbench.lifelong.base import Method
from mlbench.lifelong.buffer import Memory
from mlbench.training.compute import Compute
from mlbench.training.optimizer import Training


@dataclass
class Remembering(Method):
    """A memory of at most `memory_total` examples."""

    memory_total: int

    keeps = ("memory",)
    transform: ClassVar[Transform | None] = None  # of the tasks, where it has to wait for the augmentation

    def __post_init__(self):
        super().__post_init__()
        require(self.memory_total >= 1, "memory_total", self.memory_total, "1 or more")

    def begin(self, stream: Stream, training: Training, compute: Compute, generator: torch.Generator) -> None:
        """Whether the task's transform has to wait for the augmentation."""
        super().begin(stream, training, compute, generator)
        self.transform = None if training.augment == "none" else stream.tasks[0].train.transform

    def storable(self, split: Split) -> Split:
        """`split` with its pictures as the memory keeps them where it augments them later."""
        return split if self.transform is None else replace(split, transform=None)

    def remembered(self, count: int) -> Memory:
        """`count` stored examples, drawn evenly with replacement; they count as replayed."""
        index = torch.randint(len(self.memory), (count,), generator=self.generator)
        self.samples_replayed += count
        return self.memory.take(index.to(self.memory.labels.device))
