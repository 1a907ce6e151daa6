"""The settings of training, and the one fused optimiser of the whole parameter vector."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from mlbench.core.errors import require
from mlbench.training.theta import Theta


@dataclass
class Training:
    """The settings of `train.*`."""

    epochs: int
    batch_size: int
    optimizer: Literal["sgd", "adam", "adamw"]
    lr: float
    momentum: float
    weight_decay: float
    schedule: Literal["constant", "linear", "cosine", "warmup"]
    augment: Literal["none", "crop_flip", "shift"]
    validation: float
    patience: int
    class_weights: str | list[float] = "none"

    def __post_init__(self):
        require(self.epochs >= 0, "epochs", self.epochs, "0 (the network as it is) or more")
        require(self.batch_size >= 1, "batch_size", self.batch_size, "1 or more")
        require(0 < self.lr < math.inf, "lr", self.lr, "above 0")
        require(0 <= self.momentum < 1, "momentum", self.momentum, "0 to below 1")
        require(0 <= self.weight_decay < math.inf, "weight_decay", self.weight_decay, "0 or more")
        require(0 <= self.validation < 1, "validation", self.validation, "0 to below 1, a share of the training data")
        require(self.patience >= 0, "patience", self.patience, "0 (off) or more epochs")
        weights = self.class_weights
        ok = are_weights(weights) if isinstance(weights, list) else weights in ("none", "balanced")
        require(ok, "class_weights", weights, "none, balanced, or the weight of each class, 0 or more, as in [1,5]")


def are_weights(values: list[float]) -> bool:
    """Whether these are finite numbers, none of them negative, not all of them 0."""
    return all(isinstance(each, int | float) and 0 <= each < math.inf for each in values) and any(values)


def make_optimizer(theta: Theta, training: Training, undecayed: list[slice]) -> torch.optim.Optimizer:
    """A fused optimiser of the whole vector; weight decay leaves the pieces `undecayed` alone."""
    edges = [(piece.start, piece.stop, 0.0) for piece in undecayed] if training.weight_decay else []
    cursor, pieces = 0, []
    for start, stop, decay in sorted([*edges, (theta.value.numel(), theta.value.numel(), 0.0)]):
        pieces += [(cursor, start, training.weight_decay), (start, stop, decay)]
        cursor = stop
    groups = []
    for start, stop, decay in pieces:
        if stop > start:
            vector = nn.Parameter(theta.value[start:stop])
            vector.grad = theta.grad[start:stop]
            groups.append({"params": [vector], "weight_decay": decay})
    if training.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=training.lr, momentum=training.momentum, fused=True)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[training.optimizer]
    return kind(groups, lr=training.lr, fused=True)


def set_lr(optimizer: torch.optim.Optimizer, training: Training, done: float) -> None:
    """The learning rate when a share `done` of the steps is over."""
    for group in optimizer.param_groups:
        group["lr"] = training.lr * SCHEDULES[training.schedule](done)


def warmup(done: float) -> float:
    """Up from 0 in the first WARMUP of the steps, then down to 0: without it transformers may never begin to learn."""
    return min(done / WARMUP, (1 - done) / (1 - WARMUP))


WARMUP = 0.1
SCHEDULES: dict[str, Callable[[float], float]] = {  # down to 0, but for the first
    "constant": lambda done: 1.0,  # noqa: ARG005
    "linear": lambda done: 1 - done,
    "cosine": lambda done: (1 + math.cos(math.pi * done)) / 2,
    "warmup": warmup,
}


@torch.no_grad()
def one_step(optimizer: torch.optim.Optimizer) -> float | Tensor:
    """How far a steady gradient of 1 moves each parameter in one step, from the optimiser's present state.

    lr / (1 - momentum) for SGD; lr / (sqrt(v) + eps) with the bias-corrected second moment v for Adam.
    """
    group = optimizer.param_groups[0]
    if "betas" not in group:
        return group["lr"] / (1 - group["momentum"])
    sizes = []
    for group in optimizer.param_groups:
        state = optimizer.state[group["params"][0]]
        second = state["exp_avg_sq"] / (1 - group["betas"][1] ** state["step"])
        sizes.append(group["lr"] / (second.sqrt_().add_(group["eps"])))
    return torch.cat(sizes)
