"""Runs that train more than one network: the dense one, which is cached, and whatever a technique trains after it."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mlbench.core.errors import UserError
from mlbench.core.rng import apart
from mlbench.data.split import Split, validation_size
from mlbench.data.stream import Stream
from mlbench.experiment.checked_config import CheckedConfig
from mlbench.experiment.data_parts import divide
from mlbench.experiment.fit_sequence import FitSequence
from mlbench.experiment.network_cache import NETWORK, NetworkCache
from mlbench.experiment.network_source import NetworkSource
from mlbench.experiment.runner import Runner
from mlbench.models.initialisation import comes_with_weights, redraw
from mlbench.runs.checkpoint import read_network, restored
from mlbench.runs.checkpoint_file import write_tensors
from mlbench.training.evaluation import accuracy
from mlbench.training.learner import Learner
from mlbench.training.masked_lm import MaskedLanguage


@dataclass
class MultiFitRunner(NetworkSource, Runner):
    """What the runners of such families share; to a technique it is the `Context`.

    Attributes:
        fits: Trains, and reads back what an interrupted run has trained.
        cache: The networks that runs share.
        initial: The network as its training began, in eval mode: with its own weights where its class loads some.
    """

    config: CheckedConfig

    def __post_init__(self):
        task = self.stream.tasks[0]
        parts = divide(task, self.training.validation, self.draws)
        self.train, self.whole = parts.train, parts.whole
        self.validation, self.dropped = parts.validation, parts.dropped
        self.generator, self.classes = self.draws.method, self.stream.classes
        self.input_shape, self.outputs = self.stream.input_shape, self.stream.outputs
        self.normalise = task.train.normalise
        self.cache = NetworkCache(self.config, task, self.compute.device, self.run.display.note)
        about = (self.run, self.training, self.compute, self.draws)
        self.fits = FitSequence(*about, self.validation, lambda unfinished: self.state(unfinished))
        self.initial = self.before_training().eval()

    def before_training(self) -> nn.Module:
        """The network as its class builds it, by the seed once more where a checkpoint has trained it already.

        One whose structure a technique has changed has its layers drawn anew.
        """
        initial = copy.deepcopy(self.net)
        if self.config.is_complete:
            with apart(self.compute.device, self.draws.derived("network")):
                fresh = self.build(None)
                if shapes(fresh) == shapes(initial):
                    initial.load_state_dict(fresh.state_dict())
                else:
                    redraw(initial)
        return initial

    @cached_property
    def start(self) -> nn.Module:
        """The untrained network, in eval mode: `initial` where the seed drew its weights, else drawn anew."""
        if self.config.model.has_weights:
            with apart(self.compute.device, self.draws.derived("network")):
                return self.build(None).eval()
        with apart(self.compute.device, self.draws.derived("another network")):
            other = self.build(None)
        if shapes(other) != shapes(self.initial) or not comes_with_weights(self.initial, other):
            return self.initial
        start = copy.deepcopy(self.initial)
        with apart(self.compute.device, self.draws.derived("network")):
            unreached = redraw(start)
        self.run.display.note(redrawn_note(self.config.names["model"], unreached))
        return start.eval()

    def dense(self) -> nn.Module:
        """The trained network to start from: the one given, the one in the cache, or trained now and cached."""
        if self.config.is_complete:
            return self.net.eval()
        self.pretrained()
        make = lambda: self.fit(self.net, "dense", train=self.whole)  # noqa: E731
        self.cached(self.cache.path(*NETWORK, "train"), "dense", make)
        return self.net.eval()

    def pretrained(self) -> nn.Module:
        """The network after what it learns from texts without labels, as it is where it has no `pretraining`."""
        task, settings = self.stream.tasks[0], getattr(self.net, "pretraining", None)
        if task.unlabelled is not None and settings is not None and not self.config.is_complete:
            learner, texts = MaskedLanguage(task.modality), task.unlabelled
            settings = {**settings, "patience": 0}  # held-out sentences are of the task, which this is not about
            make = lambda: self.fit(self.net, "pretraining", learner, texts, **settings)  # noqa: E731
            self.cached(self.cache.path(*NETWORK, stage="pretraining"), "pretraining", make)
        return self.net.eval()

    def cached(self, path: Path, title: str, train: Callable[[], object]) -> None:
        """The weights of `path`, or those that `train` makes and leaves there; the same random numbers follow."""

        def read() -> None:
            self.fits.count += 1
            try:
                restored(self.net, read_network(path))
            except RuntimeError as error:
                raise UserError(f"{path} does not hold the {title} network; remove it to train it again") from error

        def make() -> None:
            train()
            write_tensors(path, self.describe(self.net).packed())

        self.cache.apply(path, title, read, make)
        torch.manual_seed(self.draws.derived(f"after the {title} network"))

    def stored(self, title: str, made_by: dict[str, Any], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """See `Context`."""
        return self.cache.tensors(title, make, validation=self.training.validation, **made_by)

    def fit(
        self, net: nn.Module, title: str, learner: Learner | None = None, train: Split | None = None, **changes: Any
    ) -> nn.Module:
        """See `Context`."""
        own = (lambda: self.describe(net)) if net is self.net else None  # others are not what config.yaml describes
        return self.fits.fit(net, title, learner or Learner(), train or self.train, changes, own)

    def accuracy(self, net: nn.Module, split: Split | None = None) -> float:
        """See `Context`."""
        return accuracy(net, split or self.validation, Learner().logits)

    def picture(self, x: Tensor) -> np.ndarray:
        """See `Context`."""
        raw = x.detach() * self.normalise.std + self.normalise.mean
        return self.stream.modality.images(raw).cpu().numpy()

    def state(self, unfinished: dict[str, Any] | None) -> dict[str, Any]:
        """Everything a resumed run needs beside the finished fits; `unfinished` is one that is not."""
        return {"network": {}, **self.fits.state_dict(unfinished)}

    def load(self, saved: dict[str, Any]) -> None:
        """The inverse of `state`."""
        self.fits.load_state_dict(saved)


def shapes(net: nn.Module) -> dict[str, torch.Size]:
    """Of each of its tensors."""
    return {name: tensor.shape for name, tensor in net.state_dict().items()}


def redrawn_note(model: str, unreached: list[str]) -> str:
    """What is said of an untrained network that is not the one the model builds."""
    note = f"model={model} comes with weights; the untrained network has all of them drawn anew"
    if unreached:
        names = ", ".join(unreached[:3]) + (", ..." if len(unreached) > 3 else "")
        note += f", {len(unreached)} of them as numbers of the same mean and deviation ({names})"
    return note


def check_single_task(config: CheckedConfig, stream: Stream) -> None:
    """Raise UserError for a stream of tasks, and for dropped classes too small to be cut."""
    if stream.scenario is not None:
        raise UserError(
            f"{config.technique_name} takes a network for one task, and this data is a stream of tasks\n"
            "take a plain dataset, as in data=mnist (see `mlbench list data`)"
        )
    if (dropped := stream.tasks[0].dropped) is not None:
        validation_size(config.training.validation, len(dropped))
