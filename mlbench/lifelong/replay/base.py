"""What replay methods share: the number of old examples in each step."""

from dataclasses import dataclass

import torch

from mlbench.core.errors import require
from mlbench.data.split import Batch
from mlbench.data.stream import Stream
from mlbench.lifelong.base import Method
from mlbench.lifelong.stored_examples import StoredExamples
from mlbench.training.compute import Compute
from mlbench.training.optimizer import Training


@dataclass
class ReplayMethod(Method):
    """From the second task on, each step also passes `replay_batch` old examples through the network.

    Args:
        replay_batch: Old examples in each step; None takes as many as `train.batch_size`.

    Raises:
        SettingError: If `replay_batch` is below 1.
    """

    replay_batch: int | None

    def __post_init__(self):
        super().__post_init__()
        require(self.replay_batch is None or self.replay_batch >= 1, "replay_batch", self.replay_batch, "1 or more")

    def begin(self, stream: Stream, training: Training, compute: Compute, generator: torch.Generator) -> None:
        """Settle the number of old examples, `count`."""
        super().begin(stream, training, compute, generator)
        self.count = self.replay_batch or training.batch_size

    def draw(self) -> StoredExamples:
        """`count` examples from the method's buffer; they count as replayed."""
        self.samples_replayed += self.count
        return self.buffer.draw(self.count)

    def replay_ratio(self, task: int) -> float:
        """`count` for each batch of new examples."""
        return self.count / self.training.batch_size if task else 0.0


def concatenate(*batches: Batch) -> Batch:
    """The examples of all `batches` as one batch, in order."""
    return Batch(*(torch.cat(parts) for parts in zip(*batches, strict=True)))
