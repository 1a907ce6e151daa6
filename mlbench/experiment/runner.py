"""The base of all runners: what every run has."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from torch import nn

from mlbench.core.errors import UserError, first_line
from mlbench.core.rng import Draws
from mlbench.data.stream import Stream
from mlbench.runs.checkpoint import Trained
from mlbench.runs.run_dir import Run
from mlbench.training.compute import Compute
from mlbench.training.device import limit_met
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

    def load(self, saved: dict[str, Any]) -> None:
        """Take up a state of the run, as it was saved. Raises an exception of any class for what is none."""
        raise NotImplementedError

    def load_weights(self, packed: dict[str, Any]) -> None:
        """Give the network its weights from a packed one, which has those of a frozen backbone beside them."""
        self.net.load_state_dict({name: packed["weights"][name] for name in self.net.state_dict()})

    def resume(self) -> None:
        """Go on from the checkpoint of the run, if there is one. Raises UserError where it is of another run."""
        if (saved := self.run.saved()) is None:
            return
        try:
            self.load(saved)
        except Exception as error:
            if limit_met(error, str(self.compute.device)):
                raise
            reason = first_line(error)
            raise UserError(
                f"{self.run.last} is not the state of this run ({type(error).__name__}: {reason})\n"
                "remove it to begin the run anew"
            ) from error


RunnerFactory = Callable[..., Runner]  # takes the fields of Runner
