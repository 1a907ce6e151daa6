"""The base of all runners: what every run has."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import nn

from mlbench.core.rng import Draws
from mlbench.data.stream import Stream
from mlbench.runs.checkpoint import Trained
from mlbench.runs.run_dir import Run
from mlbench.training.compute import Compute
from mlbench.training.optimizer import Training


class Describe(Protocol):
    """Packs a network with what `mlbench.load` needs to know; `model` is its config node where it is another one."""

    def __call__(self, net: nn.Module, model: dict | None = None) -> Trained:
        """The network and all that is needed to build it again."""


@dataclass
class Runner:
    """One run: data, network and settings, and where its results go.

    Attributes:
        stream: The tasks.
        net: The network as it is before the first step.
        training: The settings of train.*.
        compute: Where and how numbers are computed.
        run: The folder of the run.
        draws: All random numbers of the run.
        describe: Packs a network for checkpoints.
    """

    stream: Stream
    net: nn.Module
    training: Training
    compute: Compute
    run: Run
    draws: Draws
    describe: Describe

    def __call__(self) -> None:
        """Train, measure, write the results, from wherever the run's checkpoint stands."""
        raise NotImplementedError


RunnerFactory = Callable[..., Runner]  # takes the fields of Runner
