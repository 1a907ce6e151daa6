"""Buffers of stored examples: which examples of earlier tasks stay, and how they are drawn again."""

from dataclasses import replace
from typing import Any, ClassVar

import torch

from mlbench.core.errors import require
from mlbench.data.normalisation import Normalise
from mlbench.data.split import Augment, Batch, Split, Transform
from mlbench.data.stream import Stream
from mlbench.lifelong.stored_examples import StoredExamples
from mlbench.training.loop import augmentation
from mlbench.training.optimizer import Training


class Buffer:
    """At most `capacity` examples, the same number of each label of each task: what a replay method holds.

    A method creates its buffer in `__post_init__`, as `self.buffer`; `Method` then attaches it to the stream and writes
    it to checkpoints. `store` takes the examples of a task, `draw` and `batch` give them back. Published methods let
    examples in during a task. Here they enter when it ends, since the new task's examples are in the batches anyway:
    none is stored twice when there are several epochs, and a step needs no bookkeeping.

    Args:
        capacity: The largest number of examples, at least 1.

    Raises:
        SettingError: If `capacity`, which is the setting `memory_total`, is below 1.
    """

    augmented: ClassVar[bool] = True  # whether drawn pictures are augmented as new ones are

    def __init__(self, capacity: int):
        require(capacity >= 1, "memory_total", capacity, "1 or more")
        self.capacity = capacity
        self.examples: StoredExamples | None = None  # None: empty
        self.seen = 0  # examples of all tasks so far
        self.augment: Augment | None = None
        self.transform: Transform | None = None  # of the tasks, where it has to wait for the augmentation

    def begin(self, stream: Stream, training: Training, generator: torch.Generator) -> None:
        """Attach to a stream, before its first task.

        Args:
            stream: The tasks, as the method learns them.
            training: The settings of the training, of which the buffer uses the augmentation.
            generator: The source of all random draws of the buffer.
        """
        self.generator, self.tasks = generator, len(stream.tasks)
        self.normalise: Normalise = stream.tasks[0].train.normalise
        if self.augmented and training.augment != "none":
            self.augment, self.transform = augmentation(training, generator), stream.tasks[0].train.transform

    def __len__(self) -> int:
        return 0 if self.examples is None else len(self.examples)

    def store(self, split: Split) -> None:
        """Let the examples of a task that has just been learned into the buffer."""
        self.add(self.sample(split), len(split))

    def sample(self, split: Split) -> StoredExamples:
        """Those examples of `split` that could stay in the buffer: at most `capacity`."""
        return StoredExamples.balanced_sample(self.untransformed(split), self.capacity, self.generator)

    def add(self, new: StoredExamples, drawn_from: int) -> None:
        """Merge the sample `new` of a task with `drawn_from` examples into the buffer."""
        self.examples = self.merge(new, drawn_from)
        self.seen += drawn_from

    def merge(self, new: StoredExamples, drawn_from: int) -> StoredExamples:  # noqa: ARG002
        """What stays of the stored examples and the `new` ones."""
        return (new if self.examples is None else self.examples + new).balanced(self.capacity)

    def untransformed(self, split: Split) -> Split:
        """`split` with its pictures as they are stored: without the task's transform where augmentation precedes it."""
        return split if self.transform is None else replace(split, transform=None)

    def draw(self, count: int) -> StoredExamples:
        """`count` stored examples, drawn uniformly with replacement."""
        index = torch.randint(len(self.examples), (count,), generator=self.generator)
        return self.examples.take(index.to(self.examples.labels.device))

    def batch(self, stored: StoredExamples) -> Batch:
        """`stored` ready for the network, augmented as new examples are."""
        return stored.batch(self.normalise, self.augment, self.transform)

    def split(self, stored: StoredExamples) -> Split:
        """`stored` as data for training or evaluation."""
        return stored.split(self.normalise, self.transform)

    def state(self) -> dict[str, Any]:
        """The content, for a checkpoint."""
        return {} if self.examples is None else {"memory": vars(self.examples), "seen": self.seen}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take the buffer's entries out of the `state` of a method."""
        if "memory" in state:
            self.examples = StoredExamples(**state.pop("memory"))
        self.seen = state.pop("seen", 0)


class ReservoirBuffer(Buffer):
    """A uniform sample of all examples seen so far (Vitter 1985, but merged once a task).

    Where tasks are equally large it holds about as much of each as a balanced buffer; otherwise it follows their sizes.
    """

    def sample(self, split: Split) -> StoredExamples:
        """A uniform sample in random order, the first examples of which are a uniform sample again."""
        return StoredExamples.sample(self.untransformed(split), self.capacity, self.generator)

    def merge(self, new: StoredExamples, drawn_from: int) -> StoredExamples:
        """As many new examples as a uniform sample of all examples seen would contain, which is a random number."""
        if self.examples is None:
            return new
        places = torch.randperm(self.seen + drawn_from, generator=self.generator)[: self.capacity]
        count = int((places >= self.seen).sum())
        old = torch.randperm(len(self.examples), generator=self.generator)[: len(places) - count]
        device = new.labels.device
        return self.examples.take(old.to(device)) + new.take(torch.arange(count, device=device))


class TaskBuffer(Buffer):
    """An equal share for each task of the stream, fixed from the start: the episodic memory of GEM and A-GEM.

    The examples serve as a constraint, not as training data, and are never augmented.
    """

    augmented = False

    @property
    def share(self) -> int:
        """Examples of each task, at least one."""
        return max(1, self.capacity // self.tasks)

    def sample(self, split: Split) -> StoredExamples:
        """A uniform sample as large as the task's share."""
        return StoredExamples.sample(split, self.share, self.generator)

    def merge(self, new: StoredExamples, drawn_from: int) -> StoredExamples:  # noqa: ARG002
        """All of both: no task gives up what it has."""
        return new if self.examples is None else self.examples + new


POLICIES = {"reservoir": ReservoirBuffer, "balanced": Buffer}  # the setting `policy`
