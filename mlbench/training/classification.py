"""What the answers of a classifier are worth beside their accuracy: by class, by confidence, against a constant answer.

By scikit-learn's metrics where it has them.
"""

import functools
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from sklearn import metrics
from torch import Tensor, nn

from mlbench.data.split import Split
from mlbench.training.evaluation import answers
from mlbench.training.per_example_gradients import Logits

BINS = 15  # of confidence, as in Guo et al. 2017


@dataclass
class Classification:
    """The answers of a classifier to n examples of C classes.

    Attributes:
        probabilities: Softmax of the outputs, [n, C].
        labels: The true classes, [n].
        classes: The names of all classes, C of them.
    """

    probabilities: np.ndarray
    labels: np.ndarray
    classes: list[str]

    @staticmethod
    def of(net: nn.Module, split: Split, logits: Logits, classes: list[str]) -> "Classification":
        """Let `net` answer every example of `split`; `logits` gives its outputs [b, C]."""
        outputs, labels = zip(*answers(net, split, logits), strict=True)
        probabilities = torch.cat(outputs).double().softmax(1)
        return Classification(probabilities.cpu().numpy(), torch.cat(labels).cpu().numpy(), classes)

    @property
    def predictions(self) -> np.ndarray:
        """The most probable class of each example, [n]."""
        return self.probabilities.argmax(1)

    def scores(self, train_labels: Tensor) -> dict[str, float]:
        """The metrics of the whole.

        Args:
            train_labels: The classes of the training data, [N]; `majority_accuracy` is the share of examples that are
                of the most frequent one.

        Returns:
            `balanced_accuracy` (mean recall of the classes that occur), `macro_f1` (mean F1 of the classes that occur
            or are answered), `majority_accuracy`, `expected_calibration_error` (Guo et al. 2017, eq. 3).
        """
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="y_pred contains classes not in y_true")
            balanced = metrics.balanced_accuracy_score(self.labels, self.predictions)
        majority = int(torch.bincount(train_labels.cpu()).argmax())
        values = {
            "balanced_accuracy": balanced,
            "macro_f1": metrics.f1_score(self.labels, self.predictions, average="macro", zero_division=0),
            "majority_accuracy": (self.labels == majority).mean(),
        }
        if np.isfinite(self.probabilities).all():
            values["expected_calibration_error"] = expected_calibration_error(self.reliability(), len(self.labels))
        return {name: float(value) for name, value in values.items()}

    def by_class(self) -> list[list[object]]:
        """The rows of classes.csv: class, test examples, answers, precision, recall, F1; empty where not defined."""
        count = len(self.classes)
        tested, answered = (np.bincount(each, minlength=count) for each in (self.labels, self.predictions))
        defined = (answered, tested, tested + answered)  # precision, recall and F1 divide by these
        values = metrics.precision_recall_fscore_support(
            self.labels, self.predictions, labels=range(count), zero_division=0
        )
        cells = [
            [float(each) if of else "" for each, of in zip(column, divisor, strict=True)]
            for column, divisor in zip(np.array(values[:3]), defined, strict=True)
        ]
        return [list(row) for row in zip(self.classes, tested.tolist(), answered.tolist(), *cells, strict=True)]

    @functools.cached_property
    def confusion(self) -> np.ndarray:
        """How many examples of each class (rows) got which answer (columns), [C, C]."""
        return metrics.confusion_matrix(self.labels, self.predictions, labels=range(len(self.classes)))

    def confused(self, count: int) -> list[tuple[str, str, int, int]]:
        """The most frequent mistakes, `count` at most: true class, answer, how often, examples of the true class."""
        matrix = self.confusion
        totals, mistakes = matrix.sum(1), matrix - np.diag(matrix.diagonal())
        places = np.argsort(-mistakes, axis=None, kind="stable")[:count]
        pairs = [(int(true), int(answer)) for true, answer in zip(*np.unravel_index(places, matrix.shape), strict=True)]
        return [
            (self.classes[true], self.classes[answer], int(mistakes[true, answer]), int(totals[true]))
            for true, answer in pairs
            if mistakes[true, answer]
        ]

    def reliability(self) -> list[list[float]]:
        """The rows of reliability.csv, one for each of BINS equal parts of the confidence that has examples: lower and
        upper end, examples, mean confidence, accuracy."""
        confidence, correct = self.probabilities.max(1), self.predictions == self.labels
        number = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)  # ends belong to the lower bin
        rows = []
        for place in np.unique(number):
            here = number == place
            rows.append(
                [place / BINS, (place + 1) / BINS, int(here.sum()), confidence[here].mean(), correct[here].mean()]
            )
        return [[float(low), float(high), count, float(sure), float(right)] for low, high, count, sure, right in rows]


def expected_calibration_error(reliability: list[list[float]], count: int) -> float:
    """The mean distance of accuracy and confidence over `count` examples, from `Classification.reliability`."""
    return sum(size * abs(right - sure) for _, _, size, sure, right in reliability) / count
