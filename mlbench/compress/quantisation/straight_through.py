"""Training with quantised weights: the forward pass uses them, the optimiser updates real weights behind them."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mlbench.compress.base import Context, Finetuned, Point, recalibrate, weights
from mlbench.data.split import Batch
from mlbench.training.learner import Learner
from mlbench.training.theta import Theta

Quantise = Callable[[Tensor], Tensor]  # real weights of a layer -> quantised ones of the same shape


class StraightThrough(Learner):
    """Straight-through estimator (Hinton 2012): real weights get the gradient taken at the quantised ones.

    Args:
        quantise: Turns the real weights of a layer into quantised ones.
        limit: Bound of the absolute value of a layer's real weights; None: not clipped. A weight far beyond its bound
            could not change its sign any more.
    """

    def __init__(self, quantise: Quantise, limit: Callable[[Tensor], float] | None = None):
        self.quantise = quantise
        self.limit = limit

    def start(self, net: nn.Module, theta: Theta) -> None:
        """Find the views of the weights in the parameter vector, or a frozen weight itself."""
        views = theta.named(theta.value)
        self.views = [views.get(name, weight.detach()) for name, weight in weights(net).items()]

    def loss(self, net: nn.Module, batch: Batch) -> Tensor:
        """The cross-entropy of the quantised network; `adjust` restores the real weights after the backward pass."""
        self.real = [view.clone() for view in self.views]
        for view, real in zip(self.views, self.real, strict=True):
            view.copy_(self.quantise(real))
        loss = super().loss(net, batch)
        if not net.training:  # in validation no `adjust` follows
            self.restore()
        return loss

    def adjust(self, net: nn.Module, theta: Theta) -> None:  # noqa: ARG002
        """Restore the real weights, and leave them the gradient of the quantised ones."""
        self.restore()

    def restore(self) -> None:
        """Copy the real weights back into the network."""
        for view, real in zip(self.views, self.real, strict=True):
            view.copy_(real)

    def after_step(self, net: nn.Module, theta: Theta, step_size: Callable[[], float | Tensor]) -> None:  # noqa: ARG002
        """Clip the real weights."""
        if self.limit is not None:
            for view in self.views:
                view.clamp_(-self.limit(view), self.limit(view))


@dataclass
class Quantised(Finetuned):
    """The base of methods that train a network with quantised weights.

    Args:
        from_dense: Whether to start from the trained network, or from untrained weights.
    """

    from_dense: bool

    @property
    def from_scratch(self) -> bool:
        """True unless it starts from the trained network."""
        return not self.from_dense

    @abstractmethod
    def quantise(self, real: Tensor) -> Tensor:
        """The quantised weights of a layer, of the same shape, as they are tested and written."""

    @abstractmethod
    def learner(self) -> StraightThrough:
        """The learner that trains the network."""

    @torch.no_grad()
    def compress(self, dense: Point, context: Context) -> Iterator[Point]:
        """Yield one point: the network trained with quantised weights."""
        net = dense.net if self.from_dense else deepcopy(context.start)
        stage = type(self).__name__.lower()
        with torch.enable_grad():
            net = self.finetune(net, context, stage, self.learner())
        for weight in weights(net).values():
            weight.copy_(self.quantise(weight))
        recalibrate(net, context.train, context.generator)
        yield Point(stage, net, dense.entropy, dense.blueprint)
