"""The fits of a run, one after the other, saved while they go on; a resumed run reads finished ones back."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from mlbench.core.rng import Draws
from mlbench.data.split import Split
from mlbench.runs import layout
from mlbench.runs.checkpoint import Trained
from mlbench.runs.checkpoint_file import read_weights, write_tensors
from mlbench.runs.run_dir import Run
from mlbench.training.compute import Compute
from mlbench.training.fit_state import Progress, Session
from mlbench.training.learner import Learner
from mlbench.training.loop import examples_in_epoch, fit
from mlbench.training.optimizer import Training


class FitSequence:
    """Trains networks through the one loop, and counts what it costs.

    Each fit has its own random numbers, so that one that is read back leaves no trace in the next. A technique must
    therefore ask for the same fits in the same order each time.

    Args:
        run: Where checkpoints go.
        training: The settings of train.*.
        compute: Where and how numbers are computed.
        draws: All random numbers of the run.
        validation: What early stopping goes by.
        state: Gives the state of the whole run, around that of an unfinished fit.
    """

    def __init__(
        self,
        run: Run,
        training: Training,
        compute: Compute,
        draws: Draws,
        validation: Split,
        state: Callable[[dict[str, Any] | None], dict[str, Any]],
    ):
        self.run, self.training, self.compute, self.draws = run, training, compute, draws
        self.validation, self.state = validation, state
        self.phase = "train"
        self.seconds = {"train": 0.0}  # by phase
        self.samples = 0
        self.count = 0  # fits begun in this process, those read back included
        self.unfinished: dict[str, Any] | None = None  # the state of a fit that an interrupted run was in

    def fit(
        self,
        net: nn.Module,
        title: str,
        learner: Learner,
        train: Split,
        changes: dict[str, Any],
        describe: Callable[[], Trained] | None = None,
    ) -> nn.Module:
        """Train `net` on `train` in place, or read it back where an interrupted run has trained it; in eval mode.

        Args:
            net: The network.
            title: What is trained, for people.
            learner: What is learned.
            train: From which examples.
            changes: Settings of train.* that differ.
            describe: Packs the network after each epoch with keep=all; None where config.yaml does not describe it.
        """
        number, self.count = self.count, self.count + 1
        path = self.run.folder / layout.CHECKPOINTS / layout.FITS / f"{number:03d}.pt"
        resumed = self.unfinished if self.unfinished is not None and self.unfinished["number"] == number else None
        progress = Progress() if resumed is None else Progress.from_state(resumed["progress"])
        if path.exists():
            read_weights(net, path)
            if resumed is not None:  # it came to its end, and its costs were not saved
                self.pay(progress)
        else:
            self.draws.batches = self.draws.generator(f"fit {number}")
            torch.manual_seed(self.draws.derived(f"fit {number}"))
            if resumed is not None:
                net.load_state_dict(resumed["weights"])
                self.draws.load_state(resumed["draws"])
            self.train_one(net, number, title, learner, train, replace(self.training, **changes), progress, describe)
            write_tensors(path, {"weights": dict(net.state_dict())})
            self.pay(progress)
            self.run.save(self.state(None))
        torch.manual_seed(self.draws.derived(f"after fit {number}"))
        return net.eval()

    def train_one(
        self,
        net: nn.Module,
        number: int,
        title: str,
        learner: Learner,
        train: Split,
        training: Training,
        progress: Progress,
        describe: Callable[[], Trained] | None,
    ) -> None:
        """A fit that is not finished yet: through the one loop, shown, and saved now and then."""
        total = examples_in_epoch(net, len(train), training.batch_size) * training.epochs
        self.run.display.start(title, total, progress)

        def state() -> dict[str, Any]:
            packed = {"number": number, "weights": dict(net.state_dict()), "progress": progress.state()}
            return self.state({**packed, "draws": self.draws.state()})

        watch = self.run.follow(number + 1, progress, state, describe, f"fit_{number:03d}_")
        session = Session(progress, watch, self.validation if training.patience else None)
        fit(net, train, learner, training, self.compute, self.draws.batches, session)
        self.run.save(state())  # with all that it logged, before its weights tell a resumed run that it is over

    def pay(self, progress: Progress) -> None:
        """Add what a finished fit cost."""
        self.seconds[self.phase] = self.seconds.get(self.phase, 0.0) + progress.seconds
        self.samples += progress.samples
        self.unfinished = None

    def costs(self) -> dict[str, float]:
        """Seconds of each phase, and examples processed."""
        return {f"{name}_seconds": value for name, value in self.seconds.items()} | {"samples_processed": self.samples}

    def state_dict(self, unfinished: dict[str, Any] | None) -> dict[str, Any]:
        """What a resumed run needs beside the files of finished fits."""
        return {"seconds": self.seconds, "samples": self.samples, "fit": unfinished}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """The inverse of `state_dict`. Raises KeyError or TypeError for what is none."""
        fit = saved["fit"]
        kinds = {"number": int, "weights": dict, "progress": dict, "draws": dict}
        if fit is not None and any(not isinstance(fit[name], kind) for name, kind in kinds.items()):
            raise TypeError("its unfinished fit lacks a part")
        if not isinstance(saved["samples"], int) or any(
            not isinstance(s, float | int) for s in saved["seconds"].values()
        ):
            raise TypeError("its costs are no numbers")
        self.seconds, self.samples, self.unfinished = saved["seconds"], saved["samples"], saved["fit"]
