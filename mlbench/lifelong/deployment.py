"""A deployed model: it predicts, users correct some predictions, and it learns from the corrected examples."""

from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mlbench.core.rng import Draws
from mlbench.data.stream import Stream, Task
from mlbench.lifelong.metrics import Matrix
from mlbench.training.evaluation import Logits, answers


@dataclass
class Deployment:
    """The rounds of a feedback stream: the accuracy of the predictions, and which true labels are available.

    Args:
        stream: The stream as it is, whatever the method makes of it.
        draws: The random generators of the run.
    """

    HEADLINES: ClassVar[dict[str, str]] = {
        "online_accuracy": "high",
        "original_accuracy": "high",
        "round_accuracy": "high",
        "labels_used": "",
    }

    stream: Stream
    draws: Draws
    labelled: Tensor = field(init=False)  # [rows of the pool] bool
    online: list[float] = field(default_factory=list)  # accuracy in each round before its update
    labels: list[int] = field(default_factory=list)  # true labels that users gave in each round

    def __post_init__(self):
        original = self.stream.tasks[0].train
        self.labelled = torch.zeros(len(original.pool.examples), dtype=torch.bool, device=original.rows.device)
        self.labelled[original.rows] = True

    def serve(self, number: int, net: nn.Module, logits: Logits, asks: bool) -> float:
        """Predict the inputs of a round, and let users correct some of the predictions.

        Each round has a generator of its own, so that the same predictions get the same corrections.

        Args:
            number: The round, from 1.
            net: The deployed model.
            logits: Computes the competing outputs of a batch.
            asks: Whether the method uses corrections at all.

        Returns:
            The accuracy of the predictions.
        """
        split = self.stream.tasks[number].train
        right = torch.cat([outputs.argmax(1) == labels for outputs, labels in answers(net, split, logits)])
        generator = self.draws.generator(f"feedback {number}")
        corrected = self.stream.feedback.chosen(~right.cpu(), generator).to(split.rows.device)
        corrected = corrected if asks else corrected[:0]
        self.labelled[split.rows[corrected]] = True
        self.online.append(int(right.sum()) / len(split))
        self.labels.append(len(corrected))
        return self.online[-1]

    def learnable(self, task: Task) -> Task:
        """The task with the examples whose labels are available; with none after a round without corrections."""
        if self.labels and not self.labels[-1]:
            return replace(task, train=task.train.take(torch.empty_like(task.train.rows[:0])))
        index = self.labelled[task.train.rows].nonzero().squeeze(1)
        return replace(task, train=task.train.take(index))

    def scores(self, matrix: Matrix) -> dict[str, float]:
        """The metrics of a deployed model; `matrix` is R, measured on test pictures with the drift of each round."""
        rounds = range(1, len(matrix) - 1)
        return {
            "online_accuracy": fmean(self.online),
            "original_accuracy": matrix[-1][0],
            "round_accuracy": fmean(matrix[number + 1][number] for number in rounds),
            "labels_used": sum(self.labels),
        }

    def rows(self, matrix: Matrix) -> list[list[float]]:
        """The rows of rounds.csv.

        Args:
            matrix: R.

        Returns:
            For each round its number, the accuracy before the update, the accuracies after it on the original data and
            on the round's own, and the number of true labels.
        """
        rounds = enumerate(zip(self.online, self.labels, strict=True), start=1)
        return [[i, online, matrix[i + 1][0], matrix[i + 1][i], count] for i, (online, count) in rounds]

    def state(self) -> dict[str, Any]:
        """What a checkpoint needs."""
        return {"labelled": self.labelled, "online": self.online, "labels": self.labels}

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore what `state` returned."""
        self.labelled = state["labelled"].to(self.labelled.device)
        self.online, self.labels = state["online"], state["labels"]
