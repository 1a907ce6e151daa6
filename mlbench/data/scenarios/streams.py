"""Scenarios: one dataset becomes a stream of tasks.

Every draw (class order, permutations, angles, which examples) comes from a generator of its own, so that all methods
meet the same tasks at one seed. Scenarios after van de Ven & Tolias (2019): `task`, `domain`, `class`.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch

from mlbench.core.errors import SettingError, require
from mlbench.data.class_counts import check_divisible
from mlbench.data.dataset import Arrays, Data, Source, check_complete, check_pictures, remarks_of_stream
from mlbench.data.normalisation import Normalise
from mlbench.data.output_heads import GrowingHead, OwnHeads, SharedHead
from mlbench.data.split import Pool, Split, Transform, drawn
from mlbench.data.stream import Scenario, Stream, Task
from mlbench.data.task_transforms import Permutation, Rotation


@dataclass
class Sequence(Data):
    """Base class of the scenarios. Sizes count examples per task; null takes all examples."""

    source: Source
    tasks: int
    scenario: Scenario
    train_per_task: int | None
    test_per_task: int | None
    task_order: str | list[int]
    order_seed: int | None
    balanced: bool = field(default=False, kw_only=True)  # as many examples of each class as there are

    def __post_init__(self):
        check_complete(self.source)
        require(self.tasks >= 2, "tasks", self.tasks, "2 or more (a single task is the plain dataset)")
        for name in ("train_per_task", "test_per_task"):
            size = getattr(self, name)
            require(size is None or size >= 1, name, size, "1 or more, or null for all")
        is_word = self.task_order in ("fixed", "shuffled")
        ok = is_word or (isinstance(self.task_order, list) and sorted(map(str, self.task_order)) == self.numbers())
        require(ok, "task_order", self.task_order, f"fixed, shuffled, or each of 1 to {self.tasks} once, as in [2,1,3]")
        require(self.order_seed is None or self.order_seed >= 0, "order_seed", self.order_seed, "0 or more, or null")
        alone = self.order_seed is not None and self.task_order != "shuffled"
        require(not alone, "order_seed", self.order_seed, "null unless data.task_order=shuffled")

    def numbers(self) -> list[str]:
        """The numbers of the tasks, from 1, as a sorted order spells them."""
        return sorted(str(number) for number in range(1, self.tasks + 1))

    def files(self, data_dir: Path) -> list[Path]:
        """Return the files of the source."""
        return self.source.files(data_dir)

    def stream(self, data_dir: Path, generator: torch.Generator) -> Stream:
        """Return the stream; `generator` makes every random choice."""
        arrays = self.source.load(data_dir)
        normalise = self.source.normaliser(arrays)
        train, test = (Pool(x, arrays.modality) for x in (arrays.x_train, arrays.x_test))
        stream = self.cut(arrays, train, test, normalise, generator)
        if self.task_order != "fixed":
            stream = reorder(stream, self.order(generator))
        if self.source.normalise == "first_task":
            first = stream.tasks[0].train
            stream.seen_through(self.source.normaliser(replace(arrays, x_train=first.raw(first.places))))
        return replace(stream, remarks=remarks_of_stream(arrays))

    def order(self, generator: torch.Generator) -> list[int]:
        """Return the order of the tasks (from 0), drawn last, so that the tasks themselves do not depend on it."""
        if isinstance(self.task_order, list):
            # pyrefly: ignore[unnecessary-type-conversion]  # a YAML file may quote the numbers
            return [int(number) - 1 for number in self.task_order]
        if self.order_seed is not None:
            generator = torch.Generator().manual_seed(self.order_seed)
        return torch.randperm(self.tasks, generator=generator).tolist()

    def cut(self, arrays: Arrays, train: Pool, test: Pool, normalise: Normalise, generator: torch.Generator) -> Stream:
        """Make the stream; each scenario its own way."""
        raise NotImplementedError

    def heads(self, classes_per_task: int) -> tuple[SharedHead, int]:
        """The head of the scenario and the outputs it needs."""
        return {
            "task": (OwnHeads(classes_per_task), self.tasks * classes_per_task),
            "class": (GrowingHead(classes_per_task), self.tasks * classes_per_task),
            "domain": (SharedHead(), classes_per_task),
        }[self.scenario]


def reorder(stream: Stream, order: list[int]) -> Stream:
    """The same tasks, `order` naming them (from 0) in the order of learning: task numbers, class numbers of the class
    scenario and transforms follow."""
    transform = stream.tasks[0].train.transform
    new_transform = None if transform is None else transform.reorder(order)
    step = stream.heads.classes if isinstance(stream.heads, GrowingHead) else 0

    def at_place(split: Split, place: int) -> Split:
        return replace(split, task=place, labels=split.labels + (place - split.task) * step, transform=new_transform)

    tasks = [
        replace(task, train=at_place(task.train, place), test=at_place(task.test, place))
        for place, task in enumerate(stream.tasks[old] for old in order)
    ]
    classes = stream.classes
    if transform is None:  # the classes are shared out among the tasks
        size = len(classes) // len(order)
        classes = [name for old in order for name in classes[old * size : (old + 1) * size]]
    return replace(stream, tasks=tasks, classes=classes)


@dataclass
class SplitClasses(Sequence):
    """The classes are divided equally among the tasks, in a fixed order or one shuffled by the seed.

    Labels count within the task (task and domain scenario) or through all tasks (class scenario).
    """

    class_order: Literal["fixed", "shuffled"]

    def cut(self, arrays: Arrays, train: Pool, test: Pool, normalise: Normalise, generator: torch.Generator) -> Stream:
        """One task for each group of classes."""
        total = len(arrays.classes)
        check_divisible(arrays.classes, arrays.y_train, arrays.y_test)
        if total % self.tasks:
            divisors = ", ".join(str(n) for n in range(2, total + 1) if total % n == 0)
            raise SettingError("tasks", self.tasks, f"a divisor of the {total} classes: {divisors}")
        if total == self.tasks and self.scenario != "class":
            reason = f"in data.scenario={self.scenario}: with one class a task there is nothing to tell apart"
            allowed = f"fewer than the {total} classes {reason}"
            raise SettingError("tasks", self.tasks, allowed)
        order = torch.arange(total) if self.class_order == "fixed" else torch.randperm(total, generator=generator)
        per_task = total // self.tasks
        heads, outputs = self.heads(per_task)
        tasks = []
        for number, group in enumerate(order.split(per_task)):
            label = torch.full((total,), -1)
            label[group] = torch.arange(per_task) + (number * per_task if self.scenario == "class" else 0)
            splits = []
            for pool, labels, limit in (
                (train, arrays.y_train, self.train_per_task),
                (test, arrays.y_test, self.test_per_task),
            ):
                rows = torch.isin(labels, group).nonzero().squeeze(1)
                rows = rows[drawn(labels[rows], limit, self.balanced, generator)]
                splits.append(Split(pool, rows, label[labels[rows]], number, normalise))
            names = [arrays.classes[c] for c in group.tolist()]
            tasks.append(Task(" ".join(names) if per_task <= 3 else f"{names[0]} to {names[-1]}", splits[0], splits[1]))
        return Stream(tasks, self.scenario, outputs, [arrays.classes[c] for c in order.tolist()], heads)


@dataclass
class Transformed(Sequence):
    """Every task has all classes and its own transform of the pictures."""

    def cut(self, arrays: Arrays, train: Pool, test: Pool, normalise: Normalise, generator: torch.Generator) -> Stream:
        """One task for each transform."""
        check_pictures(arrays, "permuted and rotated streams change")
        transform, names = self.transform(arrays.x_train.shape[1:], generator)
        classes = len(arrays.classes)
        heads, outputs = self.heads(classes)
        tasks = []
        for number, name in enumerate(names):
            shift = number * classes if self.scenario == "class" else 0
            splits = []
            for pool, labels, limit in (
                (train, arrays.y_train, self.train_per_task),
                (test, arrays.y_test, self.test_per_task),
            ):
                rows = drawn(labels, limit, self.balanced, generator)
                splits.append(Split(pool, rows, labels[rows] + shift, number, normalise, transform))
            tasks.append(Task(name, splits[0], splits[1]))
        return Stream(tasks, self.scenario, outputs, arrays.classes, heads)

    def transform(self, shape: torch.Size, generator: torch.Generator) -> tuple[Transform, list[str]]:
        """The transform, and a name for each task."""
        raise NotImplementedError


@dataclass
class Permuted(Transformed):
    """Each task, the first one too, permutes the pixels in its own way (Goodfellow et al. 2013)."""

    def transform(self, shape: torch.Size, generator: torch.Generator) -> tuple[Transform, list[str]]:
        """A permutation of the H * W positions for each task, the same for all channels."""
        pixels = shape[1] * shape[2]
        orders = torch.stack([torch.randperm(pixels, generator=generator) for _ in range(self.tasks)])
        return Permutation(orders), [f"permutation {i + 1}" for i in range(self.tasks)]


@dataclass
class Rotated(Transformed):
    """Each task rotates the pictures by its own angle between 0 and `max_angle` degrees (Lopez-Paz 2017)."""

    max_angle: float

    def __post_init__(self):
        super().__post_init__()
        require(0 < self.max_angle <= 360, "max_angle", self.max_angle, "above 0, up to 360 degrees")

    def transform(self, shape: torch.Size, generator: torch.Generator) -> tuple[Transform, list[str]]:  # noqa: ARG002
        """One angle for each task: the k-th drawn evenly from the k-th of `tasks` equal parts of the range."""
        parts = torch.arange(self.tasks) + torch.rand(self.tasks, generator=generator)
        angles = parts * self.max_angle / self.tasks
        return Rotation(angles), [f"{angle:.0f} degrees" for angle in angles.tolist()]
