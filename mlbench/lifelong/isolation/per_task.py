"""Methods that keep what answers for a task apart from what answers for the others."""

from bisect import bisect_right
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from mlbench.data.stream import Task
from mlbench.lifelong.base import Method


@dataclass
class PerTask(Method):
    """Remembers which tasks were learned, and so whose part answers for a task.

    The task's number must be given at test time: in the task scenario it is; in the domain scenario the GEM paper gives
    it to its independent networks all the same.
    """

    scenarios = ("task", "domain")
    state_fields = ("numbers",)
    numbers: ClassVar[tuple[int, ...]] = ()  # of the tasks begun, from 0

    def start_task(self, net: nn.Module, task: Task) -> nn.Module:
        """Note the task's number."""
        self.numbers = (*self.numbers, task.train.newest_task)
        return net

    def part(self, task: int) -> int:
        """Which of the parts, from 0, answers for `task`: its own, else that of the newest task before it."""
        return max(0, bisect_right(self.numbers, task) - 1)
