"""GDumb: a greedy sampler and a dumb learner."""

from dataclasses import dataclass

from torch import nn

from mlbench.data.split import Split
from mlbench.data.stream import Task
from mlbench.lifelong.base import Method, frozen_copy
from mlbench.lifelong.buffer import Buffer


@dataclass
class GDumb(Method):
    """GDumb (Prabhu et al. 2020): store a balanced sample, and train a new network on it alone for each evaluation.

    The evaluation comes after every task. It is a control: a method that learns from the stream should be better.

    Args:
        memory_total: Capacity of the buffer, in examples.
    """

    memory_total: int

    frozen_networks = ("initial",)

    def __post_init__(self):
        super().__post_init__()
        self.buffer = Buffer(self.memory_total)

    def training_size(self, task: Task) -> int:
        """The size of the buffer if it held only this task."""
        return min(self.memory_total, len(task.train))

    def start_task(self, net: nn.Module, task: Task) -> nn.Module:
        """Store examples of the task, and reset the network to its initial weights."""
        if not hasattr(self, "initial"):
            self.initial = frozen_copy(net)
        self.buffer.store(task.train)
        net.load_state_dict(self.initial.state_dict())
        return net

    def examples(self, split: Split) -> Split:  # noqa: ARG002
        """The content of the buffer."""
        return self.buffer.split(self.buffer.examples)
