"""Replay: examples of earlier tasks are stored and learned again beside the new ones."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from mlbench.data.split import Batch, Split
from mlbench.data.stream import Stream, Task
from mlbench.lifelong.buffer import Memory
from mlbench.lifelong.replay.buffer_method import Remembering
from mlbench.lifelong.replay.replay_batch import Rehearsing
from mlbench.training.compute import Compute
from mlbench.training.loop import augmentation
from mlbench.training.optimizer import Training
from mlbench.training.theta import Theta


@dataclass
class Replay(Rehearsing, Remembering):
    """A memory of at most `memory_total` examples, filled when a task ends; `replay_batch` of them join each step.

    It holds the same number of each label of each task. The published methods let examples in during the task; here the
    new task's examples, which are in the batches anyway, enter at its end: nothing is stored twice when there are
    several epochs, and a step costs no bookkeeping.
    """

    keeps = ("memory", "seen")
    seen: ClassVar[int] = 0  # examples of all tasks so far

    def begin(self, stream: Stream, training: Training, compute: Compute, generator: torch.Generator) -> None:
        """Meet the stream; replayed pictures are augmented as new ones are."""
        super().begin(stream, training, compute, generator)
        self.augment = augmentation(training, generator)

    def draw(self) -> tuple[Memory, Batch]:
        """`count` stored examples, with replacement: as they are kept, and ready for the network."""
        drawn = self.remembered(self.count)
        return drawn, drawn.batch(self.normalise, self.augment, self.transform)

    def end_task(self, net: nn.Module, theta: Theta, task: Task) -> None:  # noqa: ARG002
        """Let the task's examples into the memory."""
        fresh = self.fresh(net, self.storable(task.train), min(self.memory_total, len(task.train)))
        self.memory = self.kept(fresh, len(task.train))
        self.seen += len(task.train)

    def fresh(self, net: nn.Module, split: Split, count: int) -> Memory:  # noqa: ARG002
        """`count` examples of the task just learned: all that a memory of that size could keep of them."""
        return Memory.balanced_of(split, count, self.generator)

    def kept(self, fresh: Memory, drawn_from: int) -> Memory:  # noqa: ARG002
        """What stays of the memory and of the `fresh` examples, which were drawn from a task of `drawn_from`."""
        return (fresh if self.memory is None else self.memory + fresh).balanced(self.memory_total)


@dataclass
class SampledReplay(Replay):
    """Replay that may also keep an even sample of all examples seen, `reservoir` (Vitter 1985), instead of `balanced`.

    When the tasks are equally large both hold about as much of each; `reservoir` follows their sizes.
    """

    policy: Literal["reservoir", "balanced"]

    def fresh(self, net: nn.Module, split: Split, count: int) -> Memory:
        """As the policy asks; for `reservoir` an even sample in random order, whose first ones are one again."""
        if self.policy == "balanced":
            return super().fresh(net, split, count)
        return Memory.of(split, count, self.generator)

    def kept(self, fresh: Memory, drawn_from: int) -> Memory:
        """An even sample of n examples has a random number of new ones, as many as n random places hold."""
        if self.policy == "balanced":
            return super().kept(fresh, drawn_from)
        if self.memory is None:
            return fresh
        places = torch.randperm(self.seen + drawn_from, generator=self.generator)[: self.memory_total]
        new = int((places >= self.seen).sum())
        old = torch.randperm(len(self.memory), generator=self.generator)[: len(places) - new]
        device = fresh.labels.device
        return self.memory.take(old.to(device)) + fresh.take(torch.arange(new, device=device))


def joined(first: Batch, second: Batch) -> Batch:
    """Both batches as one."""
    return Batch(*(torch.cat(pair) for pair in zip(first, second, strict=True)))
