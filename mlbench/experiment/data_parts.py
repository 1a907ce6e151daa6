"""Which examples a technique learns from, and which it chooses by."""

from dataclasses import dataclass

import torch

from mlbench.core.rng import Draws
from mlbench.data.split import Split
from mlbench.data.stream import Stream, Task
from mlbench.training.loop import held_out
from mlbench.training.optimizer import Training


@dataclass
class DataParts:
    """The training data of one task, divided.

    Attributes:
        train: What a technique learns from.
        whole: What the dense network learns from: `train`, and the examples of dropped classes.
        validation: What choices are made by, of all classes; the test set is the runner's.
        dropped: The classes that are not in `train`.
    """

    train: Split
    whole: Split
    validation: Split
    dropped: list[int]


def every_part(stream: Stream, training: Training, draws: Draws, chooses: bool) -> list[tuple[Split, Split | None]]:
    """Return (training data, validation data) of each task, as the runners divide them; None where there is none.

    Args:
        stream: The tasks.
        training: The settings of train.*.
        draws: All random numbers of the run.
        chooses: Whether the technique chooses by validation data; otherwise only `fit` goes by it.

    Raises:
        UserError: Where either side would be empty.
    """
    parts = []
    for task in stream.tasks:
        if chooses:
            divided = divide(task, training.validation, draws)
            parts.append((divided.train, divided.validation))
        else:
            parts.append(for_epochs(task, training, draws.batches))
    return parts


def for_epochs(task: Task, training: Training, generator: torch.Generator) -> tuple[Split, Split | None]:
    """Return (training data, validation data) of a task where validation is for measuring epochs alone.

    Validation data is train.validation of the training data, or the task's own where that is 0; None without either.
    """
    if training.validation:
        return held_out(task.train, training, generator)
    return task.train, task.validation


def divide(task: Task, share: float, draws: Draws) -> DataParts:
    """Divide the training data of `task`.

    Args:
        task: With validation data of its own, or without.
        share: train.validation, the share of the training data that becomes validation data; 0 takes the task's own.
        draws: Each cut is drawn anew from the generator of the same name, so that a technique cannot move it.

    Raises:
        UserError: Where either side would be empty.
    """
    if not task.labelled:  # nothing is learned from them
        train, validation = task.train, task.train
    elif task.validation is not None and not share:
        train, validation = task.train, task.validation
    else:
        train, validation = task.train.cut(share, draws.generator("validation"))
    if task.dropped is None:
        return DataParts(train, train, validation, [])
    others, others_validation = task.dropped.cut(share, draws.generator("validation"))
    return DataParts(
        train,
        Split.union([train, others]),
        Split.union([validation, others_validation]),
        task.dropped.labels.unique().tolist(),
    )
