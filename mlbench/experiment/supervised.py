"""Supervised training: one task, no technique."""

import math
from dataclasses import dataclass
from typing import Any

from torch import nn

from mlbench.core.errors import UserError
from mlbench.data.stream import Stream
from mlbench.experiment.checked_config import CheckedConfig
from mlbench.experiment.runner import Runner
from mlbench.reporting.figures import plots
from mlbench.runs import layout
from mlbench.training.evaluation import accuracy, mean_loss
from mlbench.training.fit_state import Progress, Session
from mlbench.training.learner import Learner
from mlbench.training.loop import fit


@dataclass
class Supervised(Runner):
    """One run of plain training."""

    def __call__(self) -> None:
        """Train, measure on the test set, write the results."""
        self.progress = Progress()
        if (saved := self.run.saved()) is not None:
            self.load(saved)
        task, display = self.stream.tasks[0], self.run.display
        if task.unlabelled is not None and getattr(self.net, "pretraining", None) is not None:
            display.note("the network learns from the labels alone: what comes before is for compress= and explain=")
        total = len(task.train) * self.training.epochs
        display.start("training", total, self.progress)
        watch = self.run.follow(1, self.progress, self.state, lambda: self.describe(self.net))
        learner, where = Learner(), (self.training, self.compute, self.draws.batches)
        fit(self.net, task.train, learner, *where, Session(self.progress, watch))
        self.finish(learner)

    def finish(self, learner: Learner) -> None:
        """Measure on the test set and write everything."""
        test = self.stream.tasks[0].test
        share = accuracy(self.net, test, learner.logits)
        metrics = {"accuracy": share, "error": 1 - share, "loss": mean_loss(self.net, test, learner.logits)}
        metrics = {name: value for name, value in metrics.items() if math.isfinite(value)}
        self.run.display.measured([share])
        for metric, value in metrics.items():
            self.run.log(self.progress.epoch, "eval", 1, "test", metric, value)
        plots.draw_losses(self.progress.losses, self.run.folder / layout.FIGURES / "loss.png")
        costs = {
            "parameters": sum(p.numel() for p in self.net.parameters()),
            "samples_processed": self.progress.samples,
            "train_seconds": self.progress.seconds,
            "samples_per_second": self.progress.samples / self.progress.seconds,
        }
        self.run.finish(self.describe(self.net), metrics, costs, {"accuracy": "high"})

    def state(self) -> dict[str, Any]:
        """Everything a resumed run needs."""
        return {
            "network": self.describe(self.net).packed(),
            "progress": self.progress.state(),
            "draws": self.draws.state(),
        }

    def load(self, saved: dict[str, Any]) -> None:
        """The inverse of `state`."""
        self.net.load_state_dict(saved["network"]["weights"])
        self.progress = Progress.from_state(saved["progress"])
        self.draws.load_state(saved["draws"])


def prepare(config: CheckedConfig, stream: Stream, net: nn.Module) -> type[Supervised]:  # noqa: ARG001
    """What makes the runner. Raises UserError for a stream of tasks, which needs a technique."""
    if stream.scenario is not None:
        raise UserError(
            "this data is a stream of tasks and needs a lifelong method, as in lifelong=finetune\n"
            "plain training takes a plain dataset, as in data=mnist (see `mlbench list data`)"
        )
    return Supervised
