"""Supervised training: one task, no technique."""

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from mlbench.core.csv_files import write_csv
from mlbench.core.errors import UserError
from mlbench.data.stream import Stream
from mlbench.experiment.checked_config import CheckedConfig
from mlbench.experiment.data_parts import for_epochs
from mlbench.experiment.runner import Runner
from mlbench.models.parameter_count import parameter_count
from mlbench.reporting.figures import classification, plots
from mlbench.runs import layout
from mlbench.training.classification import Classification
from mlbench.training.evaluation import accuracy, mean_loss
from mlbench.training.fit_state import Progress, Session
from mlbench.training.learner import Learner
from mlbench.training.loop import fit

CONFUSED = 3  # pairs of classes that the terminal names


@dataclass
class Supervised(Runner):
    """One run of plain training."""

    def __call__(self) -> None:
        """Train, measure on the test set, write the results."""
        self.progress = Progress()
        self.resume()
        task, display = self.stream.tasks[0], self.run.display
        if task.unlabelled is not None and getattr(self.net, "pretraining", None) is not None:
            display.note("the network learns from the labels alone: what comes before is for compress= and explain=")
        train, validation = for_epochs(task, self.training, self.draws.batches)
        display.start("training", len(train) * self.training.epochs, self.progress)
        watch = self.run.follow(1, self.progress, self.state, lambda: self.describe(self.net))
        learner, where = Learner(), (self.training, self.compute, self.draws.batches)
        session = Session(self.progress, watch, validation, lambda split: accuracy(self.net, split, learner.logits))
        fit(self.net, train, learner, *where, session)
        self.finish(learner, train.labels)

    def finish(self, learner: Learner, train_labels: Tensor) -> None:
        """Measure on the test set and write everything; `train_labels` [N] are the classes that were learned from."""
        test, progress = self.stream.tasks[0].test, self.progress
        share = accuracy(self.net, test, learner.logits)
        metrics = {"accuracy": share, "error": 1 - share, "loss": mean_loss(self.net, test, learner.logits)}
        answered = Classification.of(self.net, test, learner.logits, self.stream.classes)
        metrics |= answered.scores(train_labels)
        metrics = {name: value for name, value in metrics.items() if math.isfinite(value)}
        self.run.display.measured([share])
        for metric, value in metrics.items():
            self.run.log(progress.epoch, "eval", 1, "test", metric, value)
        if progress.kept_epoch is not None:
            metrics["kept_epoch"] = progress.kept_epoch
        self.write_tables(answered)
        lists = (progress.losses, progress.validation_losses, progress.validation_accuracies)
        if progress.losses:
            curve = plots.LearningCurve(*lists, progress.kept_epoch)
            plots.draw_learning_curve(curve, self.run.folder / layout.FIGURES / "loss.png")
        costs = {
            "parameters": parameter_count([self.describe(self.net).net]),
            "samples_processed": self.progress.samples,
            "train_seconds": self.progress.seconds,
            "samples_per_second": self.progress.samples / self.progress.seconds if self.progress.samples else 0.0,
        }
        headlines = {"accuracy": "high", "balanced_accuracy": "high"}
        self.run.finish(self.describe(self.net), metrics, costs, headlines)

    def write_tables(self, answered: Classification) -> None:
        """Write the tables of the answers to the test data and their figures, and name what is confused most."""
        folder, names = self.run.folder, answered.classes
        write_csv(
            folder / layout.CLASSES, ["class", "test", "answers", "precision", "recall", "f1"], answered.by_class()
        )
        rows = [[name, *row] for name, row in zip(names, answered.confusion.tolist(), strict=True)]
        write_csv(folder / layout.CONFUSION, ["class", *names], rows)
        bins = ["low", "high", "examples", "confidence", "accuracy"]
        write_csv(folder / layout.RELIABILITY, bins, answered.reliability())
        classification.draw_confusion(folder / layout.CONFUSION, folder / layout.FIGURES / "confusion.png")
        classification.draw_reliability(folder / layout.RELIABILITY, folder / layout.FIGURES / "reliability.png")
        pairs = [f"{true} as {answer} ({n} of {total})" for true, answer, n, total in answered.confused(CONFUSED)]
        if pairs:
            self.run.display.note(f"most often confused: {', '.join(pairs)}")

    def state(self) -> dict[str, Any]:
        """Everything a resumed run needs."""
        return {
            "network": self.describe(self.net).packed(),
            "progress": self.progress.state(),
            "draws": self.draws.state(),
        }

    def load(self, saved: dict[str, Any]) -> None:
        """The inverse of `state`."""
        self.load_weights(saved["network"])
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
