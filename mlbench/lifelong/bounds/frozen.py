"""A frozen model: what was learned first stays."""

from dataclasses import dataclass, replace

import torch

from mlbench.data.stream import Stream
from mlbench.lifelong.base import Method


@dataclass
class Frozen(Method):
    """Learns the first task and nothing after it: a deployed model that is never updated."""

    def stream(self, stream: Stream) -> Stream:
        """Later tasks have nothing to learn from."""
        first, *later = stream.tasks
        nothing = torch.empty(0, dtype=torch.int64, device=first.train.rows.device)
        return replace(stream, tasks=[first, *(replace(task, train=task.train.take(nothing)) for task in later)])
