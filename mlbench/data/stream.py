"""Tasks, each with training and test data, and streams of tasks."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from mlbench.core.to_device import ToDevice
from mlbench.data import patches
from mlbench.data.modality import Modality
from mlbench.data.normalisation import AsIds, Normalise
from mlbench.data.output_heads import GrowingHead, SharedHead
from mlbench.data.properties import Properties
from mlbench.data.split import Split

Scenario = Literal["task", "domain", "class"]


@dataclass
class Planted(ToDevice):
    """Where the textures are that decide the label of pictures: for scoring explanations, not for training."""

    train: Tensor  # [N, 2] row and column of its upper left corner in each picture of the training pool, -1 for none
    test: Tensor  # [M, 2] the same of the test pool
    size: int  # pixels a side
    clean: Split  # the test pictures as they were before

    def masks(self, corners: Tensor, sides: tuple[int, int]) -> Tensor:
        """Return which pixels belong to the texture.

        Args:
            corners: Row and column of the upper left corner in each picture, [n, 2]; -1 for no texture.
            sides: Height and width of the pictures.

        Returns:
            bool [n, H, W].
        """
        return patches.inside(corners, self.size, sides) & (corners[:, 0, None, None] >= 0)


@dataclass
class Task(ToDevice):
    """A task with its training and test data."""

    name: str
    train: Split
    test: Split
    dropped: Split | None = None  # training examples of classes that `data.drop_classes` keeps out of `train`
    validation: Split | None = None  # where the data has its own; otherwise it is cut from `train`
    planted: Planted | None = None
    properties: Properties | None = None
    files: list[Path] | None = None  # of the test examples, where each is a file of its own
    crop: float = 1.0  # of these files: the share of the shorter side that the examples show
    labelled: bool = True  # whether the labels say anything
    unlabelled: Split | None = None  # what a network can learn from before the task: texts, several in a row

    @property
    def modality(self) -> Modality:
        """The modality of the examples."""
        return self.train.pool.modality

    def splits(self) -> list[Split]:
        """Return all splits that the task has."""
        clean = None if self.planted is None else self.planted.clean
        candidates = (self.train, self.test, self.validation, self.dropped, clean, self.unlabelled)
        return [split for split in candidates if split is not None]


@dataclass
class Corrections:
    """The true labels that users of a deployed model provide: of a share `rate` of its `errors`, or of all inputs."""

    rate: float
    of: Literal["errors", "random"]

    def chosen(self, wrong: Tensor, generator: torch.Generator) -> Tensor:
        """Draw the examples that users correct.

        The order is drawn before the answers are considered, so that methods with the same errors get the same labels.

        Args:
            wrong: Which answers were wrong, bool [n].
            generator: Random numbers, on the CPU.

        Returns:
            Positions of the corrected examples, in ascending order.
        """
        order = torch.randperm(len(wrong), generator=generator)
        candidates = order[wrong[order]] if self.of == "errors" else order
        return candidates[: round(self.rate * len(candidates))].sort().values


@dataclass
class Stream:
    """Tasks in the order of learning."""

    tasks: list[Task]
    scenario: Scenario | None  # None: a single task
    outputs: int  # width of the network's last layer
    classes: list[str]
    heads: SharedHead
    feedback: Corrections | None = None  # the tasks after the first are rounds that a deployed model serves
    remarks: list[str] = field(default_factory=list)  # a line each, such as files that were left out

    @property
    def modality(self) -> Modality:
        """The modality of the examples of all tasks."""
        return self.tasks[0].modality

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(C, H, W) of a picture, (L,) of a text, (F,) of a row of a table."""
        return tuple(self.tasks[0].train.pool.examples.shape[1:])

    @property
    def classes_per_task(self) -> int:
        """How many classes a task has."""
        return getattr(self.heads, "classes", self.outputs)

    def first_label(self, number: int) -> int:
        """The smallest label of task `number` (from 0); in the class scenario labels count through all tasks."""
        return number * self.classes_per_task if isinstance(self.heads, GrowingHead) else 0

    def class_names(self, number: int) -> list[str]:
        """The names of the classes of task `number` (from 0), in the order of their labels."""
        size = self.classes_per_task
        shared = len(self.classes) == size  # every task has all classes
        return self.classes if shared else self.classes[number * size : (number + 1) * size]

    def example(self, count: int) -> Tensor:
        """Return `count` inputs in the form that the network takes, to try it on."""
        return self.modality.example(self.input_shape, count)

    def with_classes(self, classes: list[str]) -> "Stream":
        """The stream with the classes of another list that has all of its own, each found by its name.

        Examples without labels may be of any.
        """
        if self.tasks[0].labelled:
            numbers = torch.tensor([classes.index(name) for name in self.classes])
            for split in {id(split): split for task in self.tasks for split in task.splits()}.values():
                split.labels = numbers[split.labels]
        return replace(self, classes=classes, outputs=len(classes))

    def seen_through(self, normalise: Normalise | AsIds) -> None:
        """Set the normalisation of all examples, such as that of a network that was trained elsewhere."""
        for split in (split for task in self.tasks for split in task.splits()):
            split.normalise = normalise

    def to(self, device: torch.device) -> "Stream":
        """Return the stream on `device`, each shared pool moved once; few test pictures are transformed in advance."""
        for pool in {id(split.pool): split.pool for task in self.tasks for split in task.splits()}.values():
            pool.to(device)
        test_bytes = sum(len(task.test) for task in self.tasks) * self.tasks[0].test.pool.examples[0].nbytes
        tasks = [task.to(device) for task in self.tasks]
        if test_bytes <= TRANSFORM_BYTES:
            tasks = [replace(task, test=task.test.with_transform_applied()) for task in tasks]
        return replace(self, tasks=tasks)


TRANSFORM_BYTES = 512 * 2**20  # 20 permuted MNIST test sets are 157 MB; permuting costs as much as classifying
