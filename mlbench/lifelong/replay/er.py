"""Experience replay."""

from dataclasses import dataclass

from mlbench.data.split import Batch
from mlbench.lifelong.replay.replay import SampledReplay, joined


@dataclass
class ER(SampledReplay):
    """Experience replay (Chaudhry et al. 2019, "tiny episodic memories"): old examples beside the new ones."""

    def batch(self, batch: Batch) -> Batch:
        """The new examples and as many stored ones as `replay_batch` says."""
        return batch if self.memory is None else joined(batch, self.draw()[1])
