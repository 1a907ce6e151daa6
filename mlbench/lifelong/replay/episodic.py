"""Episodic memory: examples whose gradients the steps of later tasks must not contradict."""

from dataclasses import dataclass

from torch import nn

from mlbench.data.stream import Task
from mlbench.lifelong.buffer import Memory
from mlbench.lifelong.replay.buffer_method import Remembering
from mlbench.training.theta import Theta


@dataclass
class Episodic(Remembering):
    """A memory shared equally among the tasks of the stream, filled when a task ends."""

    def memory_per_task(self) -> int:
        """An equal share for each task of the stream, at least one example."""
        return max(1, self.memory_total // self.task_count)

    def end_task(self, net: nn.Module, theta: Theta, task: Task) -> None:  # noqa: ARG002
        """Store examples of the task."""
        stored = Memory.of(task.train, self.memory_per_task(), self.generator)
        self.memory = stored if self.memory is None else self.memory + stored
