"""What a method of compression or explanation works with."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from mlbench.core.instantiate import Blueprint
from mlbench.data.split import Split
from mlbench.training.compute import Compute
from mlbench.training.learner import Learner
from mlbench.training.optimizer import Training


class Context(Protocol):
    """Data, settings, and the one way to train; the runners that are one stand in multi_fit_runner.py."""

    train: Split  # to learn from
    whole: Split  # what the dense network learned from: `train`, and the examples of dropped classes
    dropped: list[int]  # classes that are not in `train`
    validation: Split  # to choose by; the test set is the runner's
    training: Training  # the settings of train.*
    compute: Compute
    generator: torch.Generator  # the technique's own draws
    input_shape: tuple[int, int, int]
    outputs: int
    classes: list[str]  # their names
    initial: nn.Module  # the dense network as its training began, perhaps with weights that its class loads
    start: nn.Module  # the untrained network: fresh weights, even where its class loads some; both in eval mode and
    # not to be changed

    def fit(
        self, net: nn.Module, title: str, learner: Learner | None = None, train: Split | None = None, **changes: object
    ) -> nn.Module:
        """Train `net` on `train` in place through the one loop, by train.* with `changes`, and return it.

        Where train.patience says so it stops early by the run's validation data; `patience=0` is for what learns from
        examples of another kind.

        A resumed run does not train again what was finished: the method is run from its beginning and meets the trained
        weights here. It must therefore do the same each time: random choices come from `generator`.
        """

    def stored(self, title: str, made_by: dict[str, Any], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What `make` returns, tensors by name with `weights` among them, made once and kept in the store.

        It is found again by the run's data, seed and validation share, by `title`, and by the settings `made_by`. It is
        for what is trained without `fit`; `make` draws no random numbers but its own.
        """

    def accuracy(self, net: nn.Module, split: Split | None = None) -> float:
        """On the validation data, or on `split`."""

    def build(self, blueprint: Blueprint | None) -> nn.Module:
        """A fresh network for the run's pictures and classes; without a blueprint one of the run's own model."""

    def read(self, path: str) -> nn.Module:
        """The trained network of a checkpoint, in eval mode, for the run's normalised pictures. Raises UserError."""

    def picture(self, x: Tensor) -> np.ndarray:
        """Normalised pictures [n, C, H, W] as uint8; of sounds, black is silence and white the loudest there is."""
