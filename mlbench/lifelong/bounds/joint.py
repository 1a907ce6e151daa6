"""Joint training: all tasks at once."""

from dataclasses import dataclass, replace

from mlbench.data.split import Split
from mlbench.data.stream import Stream, Task
from mlbench.lifelong.base import Method


@dataclass
class Joint(Method):
    """Learns the union of all tasks as one: the upper bound, not available to a lifelong learner."""

    joint = True

    def stream(self, stream: Stream) -> Stream:
        """A single task that holds the training data of all."""
        together = Split.union([task.train for task in stream.tasks])
        return replace(stream, tasks=[Task("all tasks together", together, stream.tasks[-1].test)])
