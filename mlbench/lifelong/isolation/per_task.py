"""What methods share that have separate parameters for each task."""

from bisect import bisect_right
from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from mlbench.data.stream import Task
from mlbench.lifelong.base import Method


@dataclass
class PerTask(Method):
    """A method with one part of its parameters for each task; keeps the numbers of the tasks learned.

    The task must be known at test time. In the task scenario it is; in the domain scenario the GEM paper also tells its
    independent networks the task.
    """

    scenarios = ("task", "domain")
    state_fields = ("numbers",)
    numbers: ClassVar[tuple[int, ...]] = ()  # of the tasks learned or being learned, from 0

    def start_task(self, net: nn.Module, task: Task) -> nn.Module:
        """Note the task's number."""
        self.numbers = (*self.numbers, task.train.newest_task)
        return net

    def part(self, task: int) -> int:
        """The index of the part for `task`: its own or, if there is none, that of the newest task before it."""
        return max(0, bisect_right(self.numbers, task) - 1)
