"""Where the networks of a technique come from: built for the run's data, or read from a checkpoint."""

from pathlib import Path

from torch import nn

from mlbench.core.instantiate import Blueprint
from mlbench.data.stream import Stream
from mlbench.experiment.checked_config import CheckedConfig
from mlbench.experiment.model_setup import read_matching
from mlbench.models.build import build_model
from mlbench.runs.checkpoint import rebuilt
from mlbench.training.compute import Compute


class NetworkSource:
    """Builds and reads networks for the examples and classes of `stream`, on the device of `compute`."""

    config: CheckedConfig
    stream: Stream
    compute: Compute

    def build(self, blueprint: Blueprint | None) -> nn.Module:
        """A fresh network, of the run's own model without a blueprint; see `Context`."""
        blueprint = blueprint or self.config.model.blueprint
        return build_model(blueprint, self.stream.input_shape, self.stream.outputs).to(self.compute.device)

    def read(self, path: str) -> nn.Module:
        """The trained network of a checkpoint, in eval mode; see `Context`. Raises UserError."""
        packed = read_matching(Path(path), self.stream)
        return rebuilt(packed, f"checkpoint {path}", self.config.dirs).to(self.compute.device).eval()
