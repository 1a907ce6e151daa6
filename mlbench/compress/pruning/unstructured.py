"""Pruning single weights."""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from mlbench.compress.base import Finetuned, Point, Workbench, weights
from mlbench.compress.pruning.importance import IMPORTANCES, Scores
from mlbench.core.errors import require
from mlbench.training.learner import Learner
from mlbench.training.theta import Theta

Masks = dict[str, Tensor]  # name of a weight -> bool in its shape, False where it is pruned

ROUNDING = 1e-9  # of a share, after some subtractions


@dataclass
class Masked(Learner):
    """Plain training of the weights that are left.

    The weights are multiplied by the mask after each step: with only their gradients masked, momentum and weight decay
    would bring pruned ones back.
    """

    masks: Masks

    def start(self, net: nn.Module, theta: Theta) -> None:  # noqa: ARG002
        """Lay the masks out like the parameters."""
        self.mask = torch.ones_like(theta.value)  # [P]
        for name, view in theta.named(self.mask).items():
            if name in self.masks:
                view.copy_(self.masks[name])
        theta.value.mul_(self.mask)

    def after_step(self, net: nn.Module, theta: Theta, step_size: Callable[[], float | Tensor]) -> None:  # noqa: ARG002
        """Pruned weights stay 0."""
        theta.value.mul_(self.mask)


@dataclass
class Prune(Finetuned):
    """Prune the least important weights, train on, and again, until the `fraction` of the original ones is left.

    Han et al. (2015); with `rewind` the lottery tickets of Frankle & Carbin (2019, section 2): the weights that are
    left go back to what they were before training (`initial`), or to those after `rewind_epochs` epochs (`early`), or
    are drawn anew (`reinitialise`), and are trained by train.* instead of finetune_*. The epochs of `early` are a
    training of their own, from the same start with other batches and the whole schedule; Frankle et al. (2020) take
    the weights on the way of the training that found the mask.
    `control` trains each mask from weights drawn anew as well. Biases and batch norm are never pruned.
    """

    fraction: float  # of the original weights that is left
    step: float | None  # pruned each round; None: everything at once
    step_of: Literal["original", "remaining"]
    importance: Literal["magnitude", "gradient", "taylor", "fisher", "random"]
    scope: Literal["global", "layer"]
    layers: list[float] | None  # the share that is left of each layer, in place of `fraction`
    last_layer: float  # with scope=layer the output layer is pruned at this part of the rate
    rewind: Literal["none", "initial", "early", "reinitialise"]
    rewind_epochs: int
    control: bool
    samples: int  # training examples that importances are computed from

    def __post_init__(self):
        super().__post_init__()
        require(0 < self.fraction < 1, "fraction", self.fraction, "above 0 and below 1, the share that is left")
        require(self.step is None or 0 < self.step < 1, "step", self.step, "null, or above 0 and below 1")
        ok = self.layers is None or all(0 < share <= 1 for share in self.layers)
        require(ok, "layers", self.layers, "null, or a share above 0 and up to 1 for each layer")
        require(0 <= self.last_layer <= 1, "last_layer", self.last_layer, "0 to 1")
        require(self.rewind_epochs >= 1, "rewind_epochs", self.rewind_epochs, "1 or more")
        require(self.samples >= 1, "samples", self.samples, "1 or more")

    @property
    def begins_anew(self) -> bool:
        """Where the weights that are left go back."""
        return self.rewind != "none"

    def check(self, net: nn.Module) -> None:
        """`layers` must have a share for each layer."""
        count = len(weights(net))
        ok = self.layers is None or len(self.layers) == count
        require(ok, "layers", self.layers, f"one share for each of the {count} layers with weights")

    def compress(self, dense: Point, bench: Workbench) -> Iterator[Point]:
        """A point after each round, its control before it."""
        net = dense.net
        names = list(weights(net))
        masks = {name: weight != 0 for name, weight in weights(net).items()}  # what was pruned before stays so
        early = self.early(bench)
        finals = self.finals(names)
        for left in self.shares():
            scores = IMPORTANCES[self.importance](net, bench, self.samples)
            masks = self.pruned(scores, masks, left, finals)
            title = f"{left:.3g} of the weights"
            if self.control:
                control = self.trained(fresh(net), masks, bench, f"{title}, drawn anew")
                yield replace(dense, stage=f"control {left:.3g}", net=control)
            net = self.learn(net, early, masks, bench, title)
            yield replace(dense, stage=f"prune {left:.3g}", net=net)

    def metrics(self, rows: list[dict[str, Any]], correct: np.ndarray) -> dict[str, float]:  # noqa: ARG002
        """With `control`, how much better the last network is than its control."""
        return {"control_error_increase": rows[-1]["accuracy"] - rows[-2]["accuracy"]} if self.control else {}

    def shares(self) -> list[float]:
        """The share of the original weights that is left after each round."""
        if self.step is None:
            return [self.fraction]
        left = [1.0]
        while left[-1] > self.fraction:
            cut = self.step * left[-1] if self.step_of == "remaining" else self.step
            following = left[-1] - cut
            left.append(following if following > self.fraction + ROUNDING else self.fraction)
        return left[1:]

    def finals(self, names: list[str]) -> dict[str, float]:
        """The share that is left of each layer in the end, with scope=layer or `layers`."""
        if self.layers is not None:
            return dict(zip(names, self.layers, strict=True))
        last, before = 1.0, 1.0
        for left in self.shares():
            last *= 1 - self.last_layer * (1 - left / before)
            before = left
        return dict.fromkeys(names[:-1], self.fraction) | {names[-1]: last}

    def pruned(self, scores: Scores, masks: Masks, left: float, finals: dict[str, float]) -> Masks:
        """New masks: `left` of all weights, or of each layer the share that corresponds."""
        if self.scope == "global" and self.layers is None:
            alive = torch.cat([scores[name].where(mask, -math.inf).flatten() for name, mask in masks.items()])
            keep = top(alive, round(left * alive.numel()))
            parts = keep.split([mask.numel() for mask in masks.values()])
            return {name: part.view_as(masks[name]) & masks[name] for name, part in zip(masks, parts, strict=True)}
        done = math.log(left) / math.log(self.fraction)  # of the way, from 0 to 1
        return {
            name: top(scores[name].where(mask, -math.inf), max(1, round(finals[name] ** done * mask.numel()))) & mask
            for name, mask in masks.items()
        }

    def early(self, bench: Workbench) -> nn.Module:
        """The network whose weights `rewind` goes back to."""
        net = copy.deepcopy(bench.start)
        if self.rewind == "early":
            bench.fit(net, "early training", epochs=self.rewind_epochs)
        return net

    def learn(self, net: nn.Module, early: nn.Module, masks: Masks, bench: Workbench, title: str) -> nn.Module:
        """Train what is left, from where `rewind` says."""
        if self.rewind == "none":
            return masked(self.finetune(masked(net, masks), bench, title, Masked(masks)), masks)
        start = fresh(net) if self.rewind == "reinitialise" else copy.deepcopy(early)
        return self.trained(start, masks, bench, title)

    def trained(self, net: nn.Module, masks: Masks, bench: Workbench, title: str) -> nn.Module:
        """`net` with only the weights of the masks, trained from where it stands by train.*."""
        spent = self.rewind_epochs if self.rewind == "early" else 0
        epochs = max(1, bench.training.epochs - spent)
        return masked(bench.fit(masked(net, masks), title, Masked(masks), epochs=epochs), masks)


def top(scores: Tensor, count: int) -> Tensor:
    """A mask of exactly `count` highest scores, in their shape; of equal ones the first."""
    mask = torch.zeros(scores.numel(), dtype=torch.bool, device=scores.device)
    mask[scores.flatten().sort(descending=True, stable=True).indices[:count]] = True
    return mask.view_as(scores)


@torch.no_grad()
def masked(net: nn.Module, masks: Masks) -> nn.Module:
    """`net` with its pruned weights set to 0, and not to the -0.0 that a product with the mask can be."""
    for name, weight in weights(net).items():
        weight.masked_fill_(~masks[name], 0.0)
    return net


def fresh(net: nn.Module) -> nn.Module:
    """A network like `net` with weights drawn anew."""
    drawn = copy.deepcopy(net)
    for module in drawn.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    return drawn
