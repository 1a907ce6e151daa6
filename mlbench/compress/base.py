"""The base of compression methods: a method takes a network and yields smaller or faster ones (runner: runner.py)."""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from omegaconf import OmegaConf
from torch import nn

from mlbench.core.errors import require
from mlbench.core.instantiate import Blueprint
from mlbench.data.split import Batch, Split
from mlbench.experiment.context import Context
from mlbench.experiment.technique import Technique
from mlbench.models.build import architecture
from mlbench.runs.results import Row
from mlbench.training.learner import Learner
from mlbench.training.module_modes import batch_statistics

WEIGHT = re.compile(r"([a-z]+_)*weight(_(ih|hh|hr)(_l\d+(_reverse)?)?)?")  # as torch's layers call theirs
RECALIBRATION_EXAMPLES = 2000
RECALIBRATION_BATCH = 200


@dataclass
class Point:
    """A network to measure.

    Attributes:
        stage: Its name: the method, and the setting where there are several.
        net: The network.
        entropy: Whether its artefact is entropy-coded.
        blueprint: The config of its model; None: the run's own model.
    """

    stage: str
    net: nn.Module
    entropy: bool = False
    blueprint: Blueprint | None = None


class Method(Technique):
    """A compression method. Subclasses are dataclasses whose fields are the hyperparameters."""

    takes = ("export", "export_range", "latency_batch")
    chooses = True
    learns_on_features = False
    changes_weights: ClassVar[bool] = True  # whether it needs linear or convolutional layers to change
    yields_weights: ClassVar[bool] = True  # whether its last point has such layers, for a next stage to change
    keeps_network: ClassVar[bool] = False  # whether it yields the network unchanged

    @property
    def from_scratch(self) -> bool:
        """Whether it starts from untrained weights, which would undo the work of an earlier stage."""
        return False

    def parts(self) -> list[tuple[str, "Method"]]:
        """The methods that it consists of, in order, with their names in messages."""
        return [("", self)]

    def blueprints(self) -> list[Blueprint]:
        """Models that it will build, so that they can be checked before anything is trained."""
        return [value for value in vars(self).values() if isinstance(value, Blueprint)]

    def networks(self) -> list[Path]:
        """Checkpoints that it will read, so that they can be checked before anything is trained."""
        return []

    def files(self) -> list[Path]:
        """Files and folders that it reads; the results depend on their content."""
        return self.networks()

    def changed(self, net: nn.Module) -> dict[str, nn.Parameter]:
        """The weights that it may change; a run says which other matrices there are, and their share."""
        return weights(net) if self.changes_weights else dict(net.named_parameters())

    def check(self, net: nn.Module) -> None:
        """Raise SettingError for settings that do not suit the network; called before anything is trained."""

    def compress(self, dense: Point, context: Context) -> Iterator[Point]:
        """Compress a network.

        Args:
            dense: The trained network; its `net` may be changed in place.
            context: Data, settings and the training loop of the run.

        Yields:
            Compressed networks. The last one is the result, from which a next stage starts. Each is written to its
            artefact before the next is requested, so they may share weights.
        """
        raise NotImplementedError

    def metrics(self, rows: list[dict[str, float]], correct: np.ndarray) -> dict[str, float]:  # noqa: ARG002
        """Compute the method's own metrics from all points.

        Args:
            rows: The rows of points.csv, the dense network first.
            correct: Whether each point classifies each test example correctly, bool [points, N].

        Returns:
            Metrics for summary.json, name -> value.
        """
        return {}

    def grids(self, test: Split) -> dict[str, list[Row]]:  # noqa: ARG002
        """Return figures for the runner to draw; called when every point has been measured.

        Args:
            test: The test examples.

        Returns:
            Name of a figure -> its rows of panels.
        """
        return {}


@dataclass
class Finetuned(Method):
    """A method that fine-tunes the network after it has changed it.

    Args:
        finetune_epochs: Epochs of fine-tuning.
        finetune_lr: Its learning rate.
    """

    finetune_epochs: int
    finetune_lr: float

    def __post_init__(self):
        require(self.finetune_epochs >= 0, "finetune_epochs", self.finetune_epochs, "0 or more")
        require(0 < self.finetune_lr < math.inf, "finetune_lr", self.finetune_lr, "above 0")

    def finetune(self, net: nn.Module, context: Context, title: str, learner: Learner | None = None) -> nn.Module:
        """Fine-tune `net` for `finetune_epochs`, then recompute the running statistics of batch norm.

        The running statistics are those of the network before the change, and lag behind a short training: with them
        low-rank convolutions had an accuracy of .39 on the digits, after recomputing them .93.

        Args:
            net: The network, changed in place.
            context: Data, settings and the training loop of the run.
            title: Name of the training, unique in the run.
            learner: Loss and hooks; plain cross-entropy if None.

        Returns:
            `net`, in eval mode.
        """
        if self.finetune_epochs:
            self.train_on(net, context, title, learner)
        recalibrate(net, context.train, context.generator)
        return net

    def train_on(self, net: nn.Module, context: Context, title: str, learner: Learner | None = None) -> None:
        """Fine-tune `net` without recomputing the statistics of batch norm; arguments as in `finetune`."""
        learner = learner or Learner()
        learner.lr_setting = "finetune_lr"  # the setting that a message about divergence names
        context.fit(net, title, learner, epochs=self.finetune_epochs, lr=self.finetune_lr)


def model_config(point: Point) -> dict[str, Any] | None:
    """The config node of the point's model, or None where it is the run's own model."""
    return None if point.blueprint is None else OmegaConf.to_container(architecture(point.blueprint.node), resolve=True)


def weights(net: nn.Module) -> dict[str, nn.Parameter]:
    """The weights that can be compressed: those of linear, convolutional, recurrent and attention layers.

    They are the parameters of two dimensions or more that are called a weight (`weight`, `in_proj_weight`,
    `weight_hh_l0`), but for those of embeddings. A weight that several layers share appears once. One that is also a
    parameter of a layer of another kind, such as BERT's word embeddings, is left out.

    Returns:
        Parameter name -> weight, in the order of the network.
    """
    names, others = {}, set()
    for path, module in net.named_modules():
        embeds = isinstance(module, nn.Embedding | nn.EmbeddingBag)
        for name, parameter in module.named_parameters(recurse=False):
            if WEIGHT.fullmatch(name) and parameter.ndim > 1 and parameter.is_floating_point() and not embeds:
                names.setdefault(parameter, f"{path}.{name}" if path else name)
            elif parameter.ndim > 1:
                others.add(parameter)
    return {name: weight for weight, name in names.items() if weight not in others}


def weights_of(net: nn.Module, layers: Iterable[nn.Module]) -> dict[str, nn.Parameter]:
    """Those of `weights` that are the weight of one of these layers."""
    chosen = {layer.weight for layer in layers}
    return {name: weight for name, weight in weights(net).items() if weight in chosen}


def batches(split: Split, count: int, size: int, generator: torch.Generator) -> Iterator[Batch]:
    """Draw up to `count` random examples of `split`, without replacement, in batches of `size`."""
    index = torch.randperm(len(split), generator=generator)[:count].to(split.labels.device)
    return (split.batch(part) for part in index.split(size))


@torch.no_grad()
def recalibrate(net: nn.Module, split: Split, generator: torch.Generator) -> None:
    """Recompute the running statistics of batch norm, as their weights or those in front of them have changed.

    They become the plain mean over batches of random examples of `split`. A network without batch norm is not touched,
    and then nothing is drawn from `generator`.

    Args:
        net: The network, changed in place and left in eval mode.
        split: Training examples.
        generator: Draws the examples.
    """
    with batch_statistics(net, momentum=None) as norms:
        if not norms:
            return
        for norm in norms:
            norm.reset_running_stats()
        for batch in batches(split, RECALIBRATION_EXAMPLES, RECALIBRATION_BATCH, generator):
            if len(batch.y) > 1:  # a single example has no variance
                net(batch.x)
    net.eval()
