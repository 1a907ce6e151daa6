"""GDumb: a greedy sampler and a dumb learner."""

from dataclasses import dataclass

from torch import nn

from mlbench.data.split import Split
from mlbench.data.stream import Task
from mlbench.lifelong.base import frozen_copy
from mlbench.lifelong.buffer import Memory
from mlbench.lifelong.replay.buffer_method import Remembering


@dataclass
class GDumb(Remembering):
    """GDumb (Prabhu et al. 2020): keep a balanced memory, and learn a fresh network from it alone when asked.

    Asked it is after every task. A method that learns from a stream should do better than this.
    """

    copies = ("initial",)

    def learned_from(self, task: Task) -> int:
        """The memory, as full as this task alone makes it."""
        return min(self.memory_total, len(task.train))

    def start_task(self, net: nn.Module, task: Task) -> nn.Module:
        """Take the task's examples into the memory, balanced by label and task; the network begins anew."""
        if not hasattr(self, "initial"):
            self.initial = frozen_copy(net)
        fresh = Memory.balanced_of(self.storable(task.train), self.memory_total, self.generator)
        together = fresh if self.memory is None else self.memory + fresh
        self.memory = together.balanced(self.memory_total)
        net.load_state_dict(self.initial.state_dict())
        return net

    def examples(self, split: Split) -> Split:  # noqa: ARG002
        """The memory."""
        return self.memory.split(self.normalise, self.transform)
