"""Methods that take old examples through the network beside the new ones."""

from dataclasses import dataclass

import torch

from mlbench.core.errors import require
from mlbench.data.stream import Stream
from mlbench.lifelong.base import Method
from mlbench.training.compute import Compute
from mlbench.training.optimizer import Training


@dataclass
class Rehearsing(Method):
    """A step takes `replay_batch` old examples, from the second task on; null takes as many as `train.batch_size`."""

    replay_batch: int | None

    def __post_init__(self):
        super().__post_init__()
        require(self.replay_batch is None or self.replay_batch >= 1, "replay_batch", self.replay_batch, "1 or more")

    def begin(self, stream: Stream, training: Training, compute: Compute, generator: torch.Generator) -> None:
        """How many examples that is."""
        super().begin(stream, training, compute, generator)
        self.count = self.replay_batch or training.batch_size

    def replays(self, task: int) -> float:
        """`count` for each batch."""
        return self.count / self.training.batch_size if task else 0.0
