"""A deployed model: trained on the original data, it serves rounds of inputs that drift away from it."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from mlbench.core.errors import SettingError, require
from mlbench.data.dataset import Arrays, Data, Source, check_complete, check_pictures, remarks_of_stream
from mlbench.data.output_heads import SharedHead
from mlbench.data.split import Pool, Split
from mlbench.data.stream import Corrections, Stream, Task
from mlbench.data.task_transforms import Rotation

Drift = Callable[[Tensor, float, torch.Generator], Tensor]  # uint8 [B, C, H, W] and an amount of 0..1 to uint8


@dataclass
class Feedback(Data):
    """Task 1 is the original data; each later task is a round of `per_round` inputs that users send and then correct.

    The drift grows evenly to `severity` in the last round. What severity 1 means: `rotation` 90 degrees, `noise` a
    standard deviation of 128 grey levels, `contrast` a tenth of it left, `classes` all classes, of which the original
    data holds the first half. `feedback` and `feedback_rate` say which true labels the users give: a share of the
    inputs answered wrongly (errors) or of all (random). No training picture is sent twice; all rounds are
    tested on the same test pictures, each drifted as far as its round.
    """

    source: Source
    drift: Literal["rotation", "noise", "contrast", "classes"]
    severity: float
    rounds: int
    original: int
    per_round: int
    test_per_task: int | None
    feedback: Literal["errors", "random"]
    feedback_rate: float

    def __post_init__(self):
        check_complete(self.source)
        require(0 <= self.severity <= 1, "severity", self.severity, "0 to 1")
        for name in ("rounds", "original", "per_round"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "1 or more")
        limit = self.test_per_task
        require(limit is None or limit >= 1, "test_per_task", limit, "1 or more, or null for all")
        require(0 <= self.feedback_rate <= 1, "feedback_rate", self.feedback_rate, "0 to 1")

    def files(self, data_dir: Path) -> list[Path]:
        """Return the files of the source."""
        return self.source.files(data_dir)

    def stream(self, data_dir: Path, generator: torch.Generator) -> Stream:
        """The original data and the rounds; drifted pictures are made once, in one pool."""
        arrays = self.source.load(data_dir)
        if self.drift != "classes":
            check_pictures(arrays, f"data.drift={self.drift} changes")
        train_rows, test_rows = self.rows(arrays, generator)
        first = arrays.x_train[train_rows[0]] if self.source.normalise == "first_task" else arrays.x_train
        normalise = self.source.normaliser(replace(arrays, x_train=first))
        drift, amounts = DRIFTS[self.drift], [self.severity * i / self.rounds for i in range(self.rounds + 1)]
        trains = [drift(arrays.x_train[rows], a, generator) for rows, a in zip(train_rows, amounts, strict=True)]
        tests = [drift(arrays.x_test[rows], a, generator) for rows, a in zip(test_rows, amounts, strict=True)]
        pool, start, tasks = Pool(torch.cat(trains), arrays.modality), 0, []
        for number, (rows, pictures, test_places) in enumerate(zip(train_rows, tests, test_rows, strict=True)):
            places = torch.arange(start, start + len(rows))
            train = Split(pool, places, arrays.y_train[rows], number, normalise)
            test_pool, labels = Pool(pictures, arrays.modality), arrays.y_test[test_places]
            test = Split(test_pool, torch.arange(len(test_places)), labels, number, normalise)
            tasks.append(Task(f"round {number}" if number else "original data", train, test))
            start += len(rows)
        classes = arrays.classes
        corrections = Corrections(self.feedback_rate, self.feedback)
        return Stream(tasks, "domain", len(classes), classes, SharedHead(), corrections, remarks_of_stream(arrays))

    def rows(self, arrays: Arrays, generator: torch.Generator) -> tuple[list[Tensor], list[Tensor]]:
        """Row numbers of the training and of the test pictures of the original data and of each round."""
        test_order = torch.randperm(len(arrays.y_test), generator=generator)
        free = torch.ones(len(arrays.y_train), dtype=torch.bool)
        train, test = [], []
        for number in range(self.rounds + 1):
            classes = self.class_count(len(arrays.classes), number)
            size = self.per_round if number else self.original
            rows = (free & (arrays.y_train < classes)).nonzero().squeeze(1)
            rows = rows[torch.randperm(len(rows), generator=generator)[:size]]
            if len(rows) < size:
                name = "per_round" if number else "original"
                raise SettingError(name, size, f"at most {len(rows)} here: the training pictures run out")
            free[rows] = False
            train.append(rows)
            test.append(test_order[arrays.y_test[test_order] < classes][: self.test_per_task])
        return train, test

    def class_count(self, total: int, number: int) -> int:
        """Return the number of classes in round `number` (0: the original data)."""
        if self.drift != "classes":
            return total
        first = math.ceil(total / 2)
        return first + round(self.severity * (total - first) * number / self.rounds)


def rotate(pictures: Tensor, amount: float, generator: torch.Generator) -> Tensor:  # noqa: ARG001
    """Rotate pictures by `amount` times 90 degrees."""
    return Rotation(torch.tensor([90.0 * amount]))(pictures, 0) if amount else pictures


def add_noise(pictures: Tensor, amount: float, generator: torch.Generator) -> Tensor:
    """Add normal noise with a standard deviation of `amount` times 128 grey levels."""
    noise = torch.randn(pictures.shape, generator=generator) * (128 * amount)
    return (pictures + noise).round_().clamp_(0, 255).to(torch.uint8)


def reduce_contrast(pictures: Tensor, amount: float, generator: torch.Generator) -> Tensor:  # noqa: ARG001
    """Reduce the contrast about the middle grey, to a tenth at `amount` 1."""
    return (127.5 + (pictures - 127.5) * (1 - 0.9 * amount)).round_().to(torch.uint8)


def leave_unchanged(pictures: Tensor, amount: float, generator: torch.Generator) -> Tensor:  # noqa: ARG001
    """Return the pictures unchanged; only the classes drift."""
    return pictures


DRIFTS: dict[str, Drift] = {
    "rotation": rotate,
    "noise": add_noise,
    "contrast": reduce_contrast,
    "classes": leave_unchanged,
}
