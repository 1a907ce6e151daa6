"""GDumb: a greedy sampler and a dumb learner."""

from dataclasses import dataclass, replace
from typing import Literal

from torch import nn

from mlbench.core.errors import require
from mlbench.data.split import Split
from mlbench.data.stream import Task
from mlbench.lifelong.base import Method, frozen_copy
from mlbench.lifelong.buffer import Buffer
from mlbench.training.optimizer import Training


@dataclass
class GDumb(Method):
    """GDumb (Prabhu et al. 2020): store a balanced sample, and train a new network on it alone for each evaluation.

    The evaluation comes after every task, and so does a whole training of `epochs` from the initial weights. It is a
    control: a method that learns from the stream should be better. The paper trains for up to 256 epochs of SGD in
    batches of 16, the learning rate falling along cosines with warm restarts from .05 to .0005, with CutMix except on
    MNIST. Here it falls once, from `train.lr` to 0, batches have `train.batch_size`, and nothing is mixed.

    Args:
        memory_total: Capacity of the buffer, in examples.
        epochs: Passes over the buffer in each training, at least 1.
        schedule: How the learning rate falls in each training, as in `train.schedule`.
    """

    memory_total: int
    epochs: int
    schedule: Literal["constant", "linear", "cosine", "warmup"]

    frozen_networks = ("initial",)

    def __post_init__(self):
        super().__post_init__()
        self.buffer = Buffer(self.memory_total)
        require(self.epochs >= 1, "epochs", self.epochs, "1 or more")

    def task_training(self, training: Training) -> Training:
        """To convergence on the buffer, however few passes the other methods make over the stream."""
        return replace(training, epochs=self.epochs, schedule=self.schedule)

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
