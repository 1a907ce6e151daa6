"""What a compressor is: it takes a network and yields smaller or faster ones. The runner stands in runner.py."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from mlbench.core.errors import require
from mlbench.core.instantiate import Blueprint
from mlbench.data.split import Batch, Split
from mlbench.experiment.context import Workbench
from mlbench.experiment.technique import Technique
from mlbench.runs.results import Row
from mlbench.training.learner import Learner
from mlbench.training.module_modes import batch_statistics


@dataclass
class Point:
    """One network worth measuring. `stage` names it: the method, and the setting where there are several."""

    stage: str
    net: nn.Module
    entropy: bool = False  # whether its file may be entropy-coded
    blueprint: Blueprint | None = None  # what built the network, where it is not the run's own model


class Method(Technique):
    """A way to compress; subclasses are dataclasses whose fields are the hyperparameters."""

    takes = ("export", "latency_batch")
    chooses = True
    changes_weights: ClassVar[bool] = True  # whether it needs linear or convolutional layers whose weights it changes
    reads_texts: ClassVar[bool] = True  # whether networks for texts can be compressed by it
    leaves_weights: ClassVar[bool] = True  # whether what it yields has such layers
    passes_on: ClassVar[bool] = False  # whether it yields the network as it was

    @property
    def begins_anew(self) -> bool:
        """Whether it starts from the untrained network, so that what an earlier stage did would be lost."""
        return False

    def blueprints(self) -> list[Blueprint]:
        """Networks that it will build, so that mistakes in them are found before anything is trained."""
        return [value for value in vars(self).values() if isinstance(value, Blueprint)]

    def networks(self) -> list[Path]:
        """Trained networks that it reads, so that one that does not fit is found before anything is trained."""
        return []

    def files(self) -> list[Path]:
        """Files and folders that it reads: one that changes makes other results."""
        return self.networks()

    def check(self, net: nn.Module) -> None:
        """Raise SettingError for settings that do not go with the network, before anything is trained or written."""

    def compress(self, dense: Point, bench: Workbench) -> Iterator[Point]:
        """Smaller networks, the last of which is the result that a next stage starts from.

        `dense.net` may be changed: each yielded network is written to its file before the next is asked for.
        """
        raise NotImplementedError

    def metrics(self, rows: list[dict[str, float]], correct: np.ndarray) -> dict[str, float]:  # noqa: ARG002
        """Numbers of the whole curve, from the measured rows and the right answers on the test set [points, N] bool."""
        return {}

    def grids(self, test: Split) -> dict[str, list[Row]]:  # noqa: ARG002
        """Figures of what was seen on the way, or of examples worth looking at: name -> rows of panels.

        Asked for when all is measured; the runner draws them.
        """
        return {}


@dataclass
class Finetuned(Method):
    """A method that trains on after it has changed the network."""

    finetune_epochs: int
    finetune_lr: float

    def __post_init__(self):
        require(self.finetune_epochs >= 0, "finetune_epochs", self.finetune_epochs, "0 or more")
        require(0 < self.finetune_lr < math.inf, "finetune_lr", self.finetune_lr, "above 0")

    def finetune(self, net: nn.Module, bench: Workbench, title: str, learner: Learner | None = None) -> nn.Module:
        """Train `net` for `finetune_epochs`, then compute batch norm's statistics anew.

        Its running averages are of the network as it was before the change, and lag behind a fast training: low-rank
        convolutions had an accuracy of .39 on the digits with them, and of .93 with these.
        """
        if self.finetune_epochs:
            self.train_on(net, bench, title, learner)
        recalibrate(net, bench.train, bench.generator)
        return net

    def train_on(self, net: nn.Module, bench: Workbench, title: str, learner: Learner | None = None) -> None:
        """The training alone."""
        learner = learner or Learner()
        learner.lr_setting = "finetune_lr"  # of this stage, where it is one of a chain
        bench.fit(net, title, learner, epochs=self.finetune_epochs, lr=self.finetune_lr)


def weights(net: nn.Module) -> dict[str, nn.Parameter]:
    """Name -> weight of every linear and convolutional layer, in the order of the network: what can be compressed.

    Each weight once; one that also is a layer's of another kind, as BERT's word embeddings are, is left alone.
    """
    found, others = {}, set()
    for path, module in net.named_modules():
        if isinstance(module, nn.Linear | nn.modules.conv._ConvNd):
            found.setdefault(module.weight, f"{path}.weight" if path else "weight")
        else:
            others |= set(module.parameters(recurse=False))
    return {name: weight for weight, name in found.items() if weight not in others}


def batches(split: Split, count: int, size: int, generator: torch.Generator) -> Iterator[Batch]:
    """Up to `count` random examples of `split`, `size` at a time."""
    index = torch.randperm(len(split), generator=generator)[:count].to(split.labels.device)
    return (split.batch(part) for part in index.split(size))


@torch.no_grad()
def recalibrate(net: nn.Module, split: Split, generator: torch.Generator) -> None:
    """Batch norm's statistics anew, the plain mean over batches of some examples: after weights have changed."""
    with batch_statistics(net, momentum=None) as norms:
        if not norms:
            return  # and no examples are drawn
        for norm in norms:
            norm.reset_running_stats()
        for batch in batches(split, 2000, 200, generator):
            if len(batch.y) > 1:
                net(batch.x)
    net.eval()
