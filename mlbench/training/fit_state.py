"""Where a fit stands, so that it can be shown, saved and continued."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mlbench.core.errors import NotFinite
from mlbench.data.split import Split

KINDS: dict[str, Any] = {  # fields of Progress -> what may be in a file of its state
    **dict.fromkeys(("epoch", "position", "samples", "step"), int),
    **dict.fromkeys(("running", "losses", "validation_losses", "validation_accuracies"), list),
    **dict.fromkeys(("optimizer", "best"), dict | None),
    "order": Tensor | None,
    "seconds": float | int,
    "stopped": bool,
}


@dataclass
class Progress:
    """Where a fit stands: all that it needs, beside the network, to go on bit for bit."""

    epoch: int = 0
    order: Tensor | None = None  # [n] this epoch's permutation
    position: int = 0  # examples of it already seen
    samples: int = 0  # new examples processed, all epochs together
    seconds: float = 0.0
    step: int = 0
    running: list[Tensor] = field(default_factory=list)  # this epoch's losses, one a step
    losses: list[float] = field(default_factory=list)  # mean loss of each finished epoch
    validation_losses: list[float] = field(default_factory=list)  # of each finished epoch, where there is such data
    validation_accuracies: list[float] = field(default_factory=list)  # the same, where the session measures it
    optimizer: dict[str, Any] | None = None
    best: dict[str, Any] | None = None  # early stopping: loss, epoch and weights of the best epoch
    stopped: bool = False

    def state(self) -> dict[str, Any]:
        """Tensors and plain values, for a checkpoint."""
        lists = {name: list(getattr(self, name)) for name in ("losses", "validation_losses", "validation_accuracies")}
        return {**vars(self), "running": [loss.item() for loss in self.running], **lists}

    @property
    def kept_epoch(self) -> int | None:
        """The epoch (from 1) whose weights early stopping keeps; None without early stopping."""
        return None if self.best is None else self.best["epoch"]

    @staticmethod
    def from_state(state: dict[str, Any]) -> "Progress":
        """The inverse of `state`. Raises TypeError or ValueError for what is none."""
        for name, kinds in KINDS.items():
            if name in state and not isinstance(state[name], kinds):
                raise TypeError(f"the progress of a fit has {name} of kind {type(state[name]).__name__}")
        values: dict[str, Any] = {**state, "running": [torch.tensor(loss) for loss in state["running"]]}
        return Progress(**values)


Watch = Callable[[Progress], None]


@dataclass
class Session:
    """What a fit has around it: where it stands, who looks on, and what it may stop early by.

    Attributes:
        progress: Continues an interrupted fit, whose network, learner and generator the caller has restored; kept up to
            date.
        watch: Sees `progress` after every chunk of batches, when it may be saved.
        validation: Data that the caller has cut off already; without it, `fit` cuts train.validation off itself where
            train.patience asks for some.
        accuracy: Gives the accuracy on validation data at the end of each epoch; None measures the loss alone.
    """

    progress: Progress = field(default_factory=Progress)
    watch: Watch | None = None
    validation: Split | None = None
    accuracy: Callable[[Split], float] | None = None


def end_epoch(progress: Progress, lr_setting: str) -> None:
    """Read the epoch's losses and make ready for the next. Raises NotFinite when one is not finite.

    `lr_setting` is what it advises to make smaller.
    """
    losses = torch.stack(progress.running).float()
    mean = losses.mean().item()
    if not math.isfinite(mean):
        step = int((~losses.isfinite()).nonzero()[0, 0]) + 1
        raise NotFinite(
            f"the loss became {losses[step - 1].item()} in epoch {progress.epoch + 1}, step {step} of {len(losses)}; "
            f"try a smaller {lr_setting}"
        )
    progress.losses.append(mean)
    progress.running.clear()
    progress.epoch += 1
    progress.order, progress.position = None, 0
