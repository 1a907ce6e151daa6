"""Cumulative training: each task is learned together with all earlier ones."""

from dataclasses import dataclass, replace

from mlbench.data.split import Split
from mlbench.data.stream import Stream
from mlbench.lifelong.base import Method


@dataclass
class Cumulative(Method):
    """Continues training on the union of all tasks so far; the cost grows with the square of the number of tasks."""

    def stream(self, stream: Stream) -> Stream:
        """Task i holds the training data of tasks 1 to i."""
        seen = [task.train for task in stream.tasks]
        tasks = [replace(task, train=Split.union(seen[: i + 1])) for i, task in enumerate(stream.tasks)]
        return replace(stream, tasks=tasks)
