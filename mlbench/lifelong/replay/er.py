"""Experience replay."""

from dataclasses import dataclass
from typing import Literal

from torch import nn

from mlbench.data.split import Batch
from mlbench.data.stream import Task
from mlbench.lifelong.buffer import POLICIES
from mlbench.lifelong.replay.base import ReplayMethod, concatenate
from mlbench.training.theta import Theta


@dataclass
class ER(ReplayMethod):
    """Experience replay (Chaudhry et al. 2019, "On tiny episodic memories in continual learning").

    Each batch of new examples is extended by stored examples of earlier tasks. Unlike in the paper, examples enter the
    buffer when their task ends.

    Args:
        memory_total: Capacity of the buffer, in examples.
        policy: Which examples stay in the buffer: `reservoir` or `balanced`.
    """

    memory_total: int
    policy: Literal["reservoir", "balanced"]

    def __post_init__(self):
        super().__post_init__()
        self.buffer = POLICIES[self.policy](self.memory_total)

    def batch(self, batch: Batch) -> Batch:
        """The new examples, followed by stored ones."""
        return concatenate(batch, self.buffer.batch(self.draw())) if self.buffer else batch

    def end_task(self, net: nn.Module, theta: Theta, task: Task) -> None:  # noqa: ARG002
        """Store examples of the task."""
        self.buffer.store(task.train)
