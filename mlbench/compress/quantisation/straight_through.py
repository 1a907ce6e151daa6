"""Training networks whose weights take few values: the forward pass sees those, the update real numbers."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mlbench.compress.base import Finetuned, Point, Workbench, recalibrate, weights
from mlbench.data.split import Batch
from mlbench.training.learner import Learner
from mlbench.training.theta import Theta

Quantise = Callable[[Tensor], Tensor]  # real weights of a layer -> what the network computes with, same shape


class StraightThrough(Learner):
    """Keeps real weights beside the coarse ones, and gives them the gradient at the coarse ones (Hinton 2012)."""

    def __init__(self, quantise: Quantise, limit: Callable[[Tensor], float] | None = None):
        self.quantise = quantise
        self.limit = limit  # of a layer's real weights: too far beyond, they could not change sign again

    def start(self, net: nn.Module, theta: Theta) -> None:
        """Find the weights in the vector."""
        views = theta.named(theta.value)
        self.views = [views[name] for name in weights(net)]

    def loss(self, net: nn.Module, batch: Batch) -> Tensor:
        """The cross-entropy of the coarse network; `adjust` puts the real weights back."""
        self.real = [view.clone() for view in self.views]
        for view, real in zip(self.views, self.real, strict=True):
            view.copy_(self.quantise(real))
        loss = super().loss(net, batch)
        if not net.training:  # validation: no step follows
            self.restore()
        return loss

    def adjust(self, net: nn.Module, theta: Theta) -> None:  # noqa: ARG002
        """Back to the real weights, with the gradient of the coarse ones."""
        self.restore()

    def restore(self) -> None:
        """The real weights into their places."""
        for view, real in zip(self.views, self.real, strict=True):
            view.copy_(real)

    def after_step(self, net: nn.Module, theta: Theta, step_size: Callable[[], float | Tensor]) -> None:  # noqa: ARG002
        """Clip."""
        if self.limit is not None:
            for view in self.views:
                view.clamp_(-self.limit(view), self.limit(view))


@dataclass
class Coarse(Finetuned):
    """A method that trains such a network, from the untrained one or (`from_dense`) from the trained."""

    from_dense: bool

    @property
    def begins_anew(self) -> bool:
        """Unless told to start from the trained network."""
        return not self.from_dense

    @abstractmethod
    def quantise(self, real: Tensor) -> Tensor:
        """The coarse weights that are tested and written."""

    @abstractmethod
    def learner(self) -> StraightThrough:
        """How to train."""

    @torch.no_grad()
    def compress(self, dense: Point, bench: Workbench) -> Iterator[Point]:
        """One point."""
        net = dense.net if self.from_dense else deepcopy(bench.start)
        stage = type(self).__name__.lower()
        with torch.enable_grad():
            net = self.finetune(net, bench, stage, self.learner())
        for weight in weights(net).values():
            weight.copy_(self.quantise(weight))
        recalibrate(net, bench.train, bench.generator)
        yield Point(stage, net, dense.entropy, dense.blueprint)
