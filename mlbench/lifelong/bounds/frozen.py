"""A frozen model: only the first task is learned."""

from dataclasses import dataclass, replace

import torch

from mlbench.data.stream import Stream
from mlbench.lifelong.base import Method


@dataclass
class Frozen(Method):
    """Learns only the first task: a deployed model that is never updated."""

    def stream(self, stream: Stream) -> Stream:
        """The tasks, of which all but the first have no training data."""
        first, *later = stream.tasks
        no_rows = torch.empty(0, dtype=torch.int64, device=first.train.rows.device)
        return replace(stream, tasks=[first, *(replace(task, train=task.train.take(no_rows)) for task in later)])
