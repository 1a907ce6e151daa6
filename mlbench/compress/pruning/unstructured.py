"""Unstructured pruning: single weights are set to zero, and masks keep them there."""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from mlbench.compress.base import Context, Finetuned, Point, weights
from mlbench.compress.pruning.importance import IMPORTANCES, Scores
from mlbench.core.errors import require
from mlbench.models.initialisation import redraw
from mlbench.training.learner import Learner
from mlbench.training.theta import Theta

Masks = dict[str, Tensor]  # parameter name -> bool in the parameter's shape, False where it is pruned

ROUNDING = 1e-9  # tolerance for shares that result from several subtractions


@dataclass
class Masked(Learner):
    """Train under masks.

    The weights are multiplied by the mask after each step. Masking only the gradients is not enough: momentum and
    weight decay would move pruned weights away from zero.
    """

    masks: Masks

    def start(self, net: nn.Module, theta: Theta) -> None:  # noqa: ARG002
        """Lay the masks out like the parameter vector, and prune."""
        self.mask = torch.ones_like(theta.value)  # [P]
        for name, view in theta.named(self.mask).items():
            if name in self.masks:
                view.copy_(self.masks[name])
        theta.value.mul_(self.mask)

    def after_step(self, net: nn.Module, theta: Theta, step_size: Callable[[], float | Tensor]) -> None:  # noqa: ARG002
        """Set the pruned weights to zero again."""
        theta.value.mul_(self.mask)


@dataclass
class Prune(Finetuned):
    """Iterative pruning: remove the least important weights and train on, until `fraction` of them is left.

    Without `rewind` this is Han et al. (2015); with it, the lottery tickets of Frankle & Carbin (2019, section 2): the
    remaining weights are reset after each round and trained by train.*, not by finetune_*. Biases and batch norm are
    never pruned. It deviates from Frankle et al. (2020) with `rewind=early`: the early weights come from a training of
    their own, from the same initial weights with other batches and the whole schedule; the paper takes them from the
    training that led to the mask.

    Args:
        fraction: Share of the original weights that is left at the end.
        step: Share of the weights to prune in each round; None prunes once.
        step_of: What `step` is a share of: the `original` or the `remaining` weights.
        importance: Score of a weight; the lowest are pruned.
        scope: Whether to compare scores over the whole network or within each layer.
        layers: Share of each layer's weights that is left at the end, instead of `fraction` and `scope`.
        last_layer: With scope=layer, the pruning rate of the output layer relative to the other layers.
        rewind: What training starts from after each round: `none`, the present weights; `initial`, those that the dense
            network's training began from, also where its class loads them; `early`, those after `rewind_epochs` epochs;
            `reinitialise`, fresh ones.
        rewind_epochs: Epochs that lead to the weights of rewind=early.
        control: Whether to train each mask from fresh weights as well, for comparison.
        samples: Training examples for the importance scores.
    """

    fraction: float
    step: float | None
    step_of: Literal["original", "remaining"]
    importance: Literal["magnitude", "gradient", "taylor", "fisher", "random"]
    scope: Literal["global", "layer"]
    layers: list[float] | None
    last_layer: float
    rewind: Literal["none", "initial", "early", "reinitialise"]
    rewind_epochs: int
    control: bool
    samples: int

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
    def from_scratch(self) -> bool:
        """True if the weights are rewound."""
        return self.rewind != "none"

    def check(self, net: nn.Module) -> None:
        """Raise SettingError unless `layers` has a share for each layer."""
        count = len(weights(net))
        ok = self.layers is None or len(self.layers) == count
        require(ok, "layers", self.layers, f"one share for each of the {count} layers with weights")

    def compress(self, dense: Point, context: Context) -> Iterator[Point]:
        """Yield a point after each round, and before it its control if there is one."""
        net = dense.net
        names = list(weights(net))
        masks = {name: weight != 0 for name, weight in weights(net).items()}  # zeros stay zero
        start = self.rewind_target(context)
        final_shares = self.final_shares(names)
        for left in self.shares():
            scores = IMPORTANCES[self.importance](net, context, self.samples)
            masks = self.prune(scores, masks, left, final_shares)
            title = f"{left:.3g} of the weights"
            if self.control:
                control = self.train_masked(reinitialised(net), masks, context, f"{title}, drawn anew")
                yield replace(dense, stage=f"control {left:.3g}", net=control)
            net = self.retrain(net, start, masks, context, title)
            yield replace(dense, stage=f"prune {left:.3g}", net=net)

    def metrics(self, rows: list[dict[str, Any]], correct: np.ndarray) -> dict[str, float]:  # noqa: ARG002
        """With `control`, `control_error_increase`: the error of the last control minus that of the last point."""
        return {"control_error_increase": rows[-1]["accuracy"] - rows[-2]["accuracy"]} if self.control else {}

    def shares(self) -> list[float]:
        """The share of the original weights that is left after each round, between 0 and 1."""
        if self.step is None:
            return [self.fraction]
        left = [1.0]
        while left[-1] > self.fraction:
            cut = self.step * left[-1] if self.step_of == "remaining" else self.step
            following = left[-1] - cut
            left.append(following if following > self.fraction + ROUNDING else self.fraction)
        return left[1:]

    def final_shares(self, names: list[str]) -> dict[str, float]:
        """Parameter name -> share of its weights that is left at the end, for scope=layer and `layers`."""
        if self.layers is not None:
            return dict(zip(names, self.layers, strict=True))
        last, before = 1.0, 1.0
        for left in self.shares():
            last *= 1 - self.last_layer * (1 - left / before)
            before = left
        return dict.fromkeys(names[:-1], self.fraction) | {names[-1]: last}

    def prune(self, scores: Scores, masks: Masks, left: float, final_shares: dict[str, float]) -> Masks:
        """Prune further, by the scores of the weights that the masks still hold.

        Args:
            scores: Importance of each weight.
            masks: The present masks.
            left: Share of all original weights that is left after this round.
            final_shares: Share of each layer that is left at the end; not used with scope=global.

        Returns:
            New masks, subsets of `masks`.
        """
        if self.scope == "global" and self.layers is None:
            alive = torch.cat([scores[name].where(mask, -math.inf).flatten() for name, mask in masks.items()])
            chosen = top(alive, round(left * alive.numel()))
            parts = chosen.split([mask.numel() for mask in masks.values()])
            return {name: part.view_as(masks[name]) & masks[name] for name, part in zip(masks, parts, strict=True)}
        progress = math.log(left) / math.log(self.fraction)  # from 0 to 1 at the last round
        counts = {name: max(1, round(final_shares[name] ** progress * mask.numel())) for name, mask in masks.items()}
        return {name: top(scores[name].where(mask, -math.inf), counts[name]) & mask for name, mask in masks.items()}

    def rewind_target(self, context: Context) -> nn.Module:
        """The network whose weights rewind=initial and rewind=early return to."""
        net = copy.deepcopy(context.initial)
        if self.rewind == "early":
            context.fit(net, "early training", epochs=self.rewind_epochs)
        return net

    def retrain(self, net: nn.Module, target: nn.Module, masks: Masks, context: Context, title: str) -> nn.Module:
        """Train the remaining weights, starting from what `rewind` says; `target` is the `rewind_target`."""
        if self.rewind == "none":
            return masked(self.finetune(masked(net, masks), context, title, Masked(masks)), masks)
        start = reinitialised(net) if self.rewind == "reinitialise" else copy.deepcopy(target)
        return self.train_masked(start, masks, context, title)

    def train_masked(self, net: nn.Module, masks: Masks, context: Context, title: str) -> nn.Module:
        """Train `net` under the masks by train.*, from its present weights; rewind_epochs count as spent."""
        spent = self.rewind_epochs if self.rewind == "early" else 0
        epochs = max(1, context.training.epochs - spent)
        return masked(context.fit(masked(net, masks), title, Masked(masks), epochs=epochs), masks)


def top(scores: Tensor, count: int) -> Tensor:
    """A mask in the shape of `scores` of exactly the `count` highest; of equal scores the first ones."""
    mask = torch.zeros(scores.numel(), dtype=torch.bool, device=scores.device)
    mask[scores.flatten().sort(descending=True, stable=True).indices[:count]] = True
    return mask.view_as(scores)


@torch.no_grad()
def masked(net: nn.Module, masks: Masks) -> nn.Module:
    """Set the pruned weights of `net` to 0, not to the -0.0 that a product with the mask may give, and return it."""
    for name, weight in weights(net).items():
        weight.masked_fill_(~masks[name], 0.0)
    return net


def reinitialised(net: nn.Module) -> nn.Module:
    """A copy of `net` with fresh random weights."""
    copied = copy.deepcopy(net)
    redraw(copied)
    return copied
