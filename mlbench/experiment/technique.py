"""What every technique says of itself before a run is made."""

from pathlib import Path
from typing import ClassVar

from mlbench.data.stream import Task


class Technique:
    """The base of the families' methods; by itself it is plain training."""

    takes: ClassVar[tuple[str, ...]] = ()  # settings at the top level that mean something to it and not to all
    chooses: ClassVar[bool] = False  # whether it chooses by train.validation, which otherwise is for early stopping
    about_answers: ClassVar[bool] = True  # whether it is about classes that are told apart

    def files(self) -> list[Path]:
        """Files and folders that it reads: one that changes makes other results."""
        return []

    def learned_from(self, task: Task) -> int:
        """How many examples `fit` gets for the task."""
        return len(task.train)
