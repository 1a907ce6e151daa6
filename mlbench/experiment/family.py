"""What a run asks of the family of its technique."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from mlbench.data.stream import Stream
from mlbench.experiment.checked_config import CheckedConfig
from mlbench.experiment.runner import RunnerFactory
from mlbench.experiment.technique import Technique


@dataclass(frozen=True)
class Family:
    """A family of techniques, or, without any, plain training.

    `method` is the class that its techniques descend from. `prepare(config, stream, net)` checks the technique against
    the data and the network, raises UserError where they do not go together, and gives back what makes the runner.
    """

    name: str
    method: type[Technique]
    prepare: Callable[[CheckedConfig, Stream, nn.Module], RunnerFactory]
