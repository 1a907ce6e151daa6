"""A rehearsal: a technique tried on the untrained network and a few examples, before anything is trained or written.

Here is what the families share; which steps a technique takes stands in the rehearsal.py of its family.
"""

import copy
import dataclasses
import warnings
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from mlbench.core.errors import RunError, SettingError, UserError
from mlbench.core.rng import apart
from mlbench.data.split import Split
from mlbench.data.stream import Stream
from mlbench.experiment.checked_config import CheckedConfig
from mlbench.experiment.model_setup import refusal
from mlbench.experiment.network_source import NetworkSource
from mlbench.experiment.technique import Technique
from mlbench.training.compute import Compute
from mlbench.training.evaluation import accuracy
from mlbench.training.learner import Learner
from mlbench.training.loop import fit
from mlbench.training.optimizer import Training

EXAMPLES, OF_LARGE = 4, 2
LARGE = 2_000_000  # parameters, and numbers in all examples together
SHORT = {
    "epochs": 1,
    "batch_size": EXAMPLES,
    "lr": 1e-6,  # that no setting makes it diverge: the run itself says so, and when
    "validation": 0.0,
    "patience": 0,
    "class_weights": "none",  # a few examples lack classes
}


@contextmanager
def rehearsal(technique: str) -> Generator[None]:
    """Raise UserError for whatever goes wrong inside, but for a RunError, which is of the data and not of the network.

    Torch's global random numbers stay as they are, and nothing is said.

    Args:
        technique: `family=name`.
    """
    about = f"{technique} cannot be used with this network"
    with warnings.catch_warnings(), apart(torch.device("cpu"), 0), refusal(about), suppress(RunError):
        warnings.simplefilter("ignore")
        try:
            yield
        except SettingError as error:
            raise UserError(f"{technique.partition('=')[0]}.{error}") from error


def shortened(technique: Technique) -> Technique:
    """A copy with the settings of `shortest`."""
    short = copy.deepcopy(technique)
    for name, value in short.shortest.items():
        setattr(short, name, value)
    return short


def few(split: Split, net: nn.Module) -> Split:
    """The first examples of a split, fewer of them for a large network or large examples."""
    size = max(sum(p.numel() for p in net.parameters()), EXAMPLES * split.pool.examples[0].numel())
    return split.take(split.places[: EXAMPLES if size <= LARGE else OF_LARGE])


def short_training(training: Training, **changes: object) -> Training:
    """One step: the settings of train.* with `changes` of the technique's and, before them, those of `SHORT`."""
    return dataclasses.replace(training, **{**changes, **SHORT})


@dataclass
class Rehearsal(NetworkSource):
    """The `Context` of a rehearsal: a few examples, draws of its own, and fits of one step, all on the CPU."""

    config: CheckedConfig
    stream: Stream
    net: nn.Module

    def __post_init__(self):
        task, stream = self.stream.tasks[0], self.stream
        self.train = self.whole = self.validation = few(task.train, self.net)
        self.test = few(task.test, self.net)
        self.dropped: list[int] = []
        self.training, self.compute = short_training(self.config.training), Compute()
        self.generator = torch.Generator().manual_seed(0)
        self.initial = self.start = copy.deepcopy(self.net).eval()
        self.input_shape, self.outputs, self.classes = stream.input_shape, stream.outputs, stream.classes
        self.normalise = task.train.normalise

    def fit(
        self,
        net: nn.Module,
        title: str,  # noqa: ARG002
        learner: Learner | None = None,
        train: Split | None = None,
        **changes: object,
    ) -> nn.Module:
        """One step; see `Context`."""
        split = self.train if train is None else few(train, self.net)
        training = short_training(self.config.training, **changes)
        fit(net, split, learner or Learner(), training, self.compute, self.generator)
        return net

    def accuracy(self, net: nn.Module, split: Split | None = None) -> float:
        """See `Context`."""
        return accuracy(net, split or self.validation, Learner().logits)

    def picture(self, x: Tensor) -> np.ndarray:
        """See `Context`."""
        return self.stream.modality.images(x.detach() * self.normalise.std + self.normalise.mean).numpy()
