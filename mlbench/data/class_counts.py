"""How many examples of each class a run learns from, chooses by and is tested on."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mlbench.core.errors import UserError
from mlbench.data.split import Split
from mlbench.data.stream import Stream

NAMED = 8  # classes that a line names before it only counts them


@dataclass
class ClassCounts:
    """The examples of each class in one task.

    Attributes:
        task: The name of the task.
        classes: The names of its classes, C of them.
        train: Training examples of each class, [C] int64.
        validation: Validation examples, [C]; all 0 where there are none.
        test: Test examples, [C].
        dropped: Whether a class is kept out of the task by `data.drop_classes`, [C] bool.
    """

    task: str
    classes: list[str]
    train: Tensor
    validation: Tensor
    test: Tensor
    dropped: Tensor

    @staticmethod
    def of(stream: Stream, number: int, train: Split, validation: Split | None) -> "ClassCounts":
        """Count the examples of task `number` (from 0), of whose training data `validation` may have been cut off."""
        task, names = stream.tasks[number], stream.class_names(number)
        first = stream.first_label(number)

        def counts(split: Split | None) -> Tensor:
            labels = torch.empty(0, dtype=torch.int64) if split is None else split.labels.cpu()
            return torch.bincount(labels - first, minlength=len(names))

        return ClassCounts(
            task.name, names, counts(train), counts(validation), counts(task.test), counts(task.dropped) > 0
        )

    @property
    def majority(self) -> tuple[str, float] | None:
        """The most frequent class of the training data, and its share of the test data; None without test data."""
        place, total = int(self.train.argmax()), int(self.test.sum())
        return (self.classes[place], int(self.test[place]) / total) if total else None

    @property
    def parts(self) -> tuple[Tensor, Tensor, Tensor]:
        """The counts of the training, validation and test examples."""
        return self.train, self.validation, self.test

    def rows(self) -> list[list[object]]:
        """The rows of class_counts.csv: task, class, training, validation and test examples."""
        counts = (part.tolist() for part in self.parts)
        return [[self.task, *row] for row in zip(self.classes, *counts, strict=True)]

    def empty(self) -> list[str]:
        """A line for each part of the data in which classes have no example; none for dropped classes."""
        lines = []
        for part, counts in (("training", self.train), ("test", self.test)):
            missing = (counts == 0) & ~(self.dropped & (counts is self.train))
            names = [self.classes[place] for place in missing.nonzero().flatten().tolist()]
            if names:
                lines.append(f"{self.task}: no {part} example of {enumeration(names)}")
        return lines

    def check(self) -> None:
        """Raise UserError where one class is all there is to learn or to be tested on: any answer would be right."""
        if len(self.classes) < 2:
            return
        hint = "data.balanced=true draws as many of each class as there are"
        if self.dropped.any():
            hint = "data.drop_classes has to leave them"
        for part, counts in (("training", self.train), ("test", self.test)):
            present = counts.nonzero().flatten().tolist()
            if len(present) == 1:
                raise UserError(
                    f"task {self.task}: all {part} examples are of class {self.classes[present[0]]}, so there is "
                    f"nothing to tell apart\nneeded are examples of two classes or more; {hint}"
                )


def enumeration(names: list[str]) -> str:
    """Return names in a line, the first NAMED of them where there are more."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def check_divisible(classes: list[str], y_train: Tensor, y_test: Tensor) -> None:
    """Raise UserError where classes that are divided among tasks have no training or no test example.

    Args:
        classes: The names of all classes.
        y_train: Labels of the training data, [N].
        y_test: Labels of the test data, [M].
    """
    for part, labels in (("training", y_train), ("test", y_test)):
        counts = torch.bincount(labels, minlength=len(classes))
        if names := [name for name, count in zip(classes, counts.tolist(), strict=True) if not count]:
            raise UserError(
                f"the data has no {part} example of class {enumeration(names)}, so that a task would hold fewer "
                "classes than it says\nleave such classes out of the data, and number the labels from 0 without gaps"
            )
