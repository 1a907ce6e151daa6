"""Joint training: all tasks at once."""

from dataclasses import dataclass, replace

from mlbench.core.errors import require
from mlbench.data.split import Split
from mlbench.data.stream import Stream, Task
from mlbench.lifelong.base import Method
from mlbench.training.optimizer import Training


@dataclass
class Joint(Method):
    """Learns the union of all tasks as one: the upper bound, not available to a lifelong learner.

    It bounds the others only where it is trained until it no longer gains, which may take more epochs than theirs.

    Args:
        epochs: Passes over all data, at least 1; None takes `train.epochs`.
    """

    epochs: int | None

    joint = True

    def __post_init__(self):
        require(self.epochs is None or self.epochs >= 1, "epochs", self.epochs, "1 or more, or null")

    def task_training(self, training: Training) -> Training:
        """With its own number of epochs."""
        return replace(training, epochs=self.epochs or training.epochs)

    def stream(self, stream: Stream) -> Stream:
        """A single task that holds the training data of all."""
        together = Split.union([task.train for task in stream.tasks])
        return replace(stream, tasks=[Task("all tasks together", together, stream.tasks[-1].test)])
