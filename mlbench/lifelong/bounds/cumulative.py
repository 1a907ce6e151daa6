"""Cumulative training: everything seen so far, again, whenever a task comes."""

from dataclasses import dataclass, replace

from mlbench.data.split import Split
from mlbench.data.stream import Stream
from mlbench.lifelong.base import Method


@dataclass
class Cumulative(Method):
    """Goes on from the last network with the union of the tasks so far; the work grows with the square of the tasks."""

    def stream(self, stream: Stream) -> Stream:
        """Task i holds the training data of tasks 1 to i."""
        seen = [task.train for task in stream.tasks]
        tasks = [replace(task, train=Split.union(seen[: i + 1])) for i, task in enumerate(stream.tasks)]
        return replace(stream, tasks=tasks)
