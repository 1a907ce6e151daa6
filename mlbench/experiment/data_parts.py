"""Which examples a technique learns from, and which it chooses by."""

from dataclasses import dataclass

from mlbench.core.rng import Draws
from mlbench.data.split import Split
from mlbench.data.stream import Task


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


def divide(task: Task, share: float, draws: Draws) -> DataParts:
    """Divide the training data of `task`.

    Args:
        task: With validation data of its own, or without.
        share: train.validation, the share of the training data that becomes validation data; 0 takes the task's own.
        draws: Each cut is drawn anew from the generator of the same name, so that a technique cannot move it.

    Raises:
        UserError: Where either side would be empty.
    """
    if task.validation is not None and not share:
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
