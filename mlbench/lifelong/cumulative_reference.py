"""The reference of intransigence: a network for each task, trained on the tasks up to it."""

import copy
from dataclasses import replace

from torch import nn

from mlbench.core.rng import Draws
from mlbench.data.stream import Stream
from mlbench.lifelong import metrics
from mlbench.lifelong.joint_reference import JointReference
from mlbench.lifelong.metrics import Matrix
from mlbench.runs.console import Display
from mlbench.training.compute import Compute
from mlbench.training.evaluation import accuracy
from mlbench.training.optimizer import Training


class CumulativeReference(JointReference):
    """For task k, joint training on tasks 1 to k, each time from the initial weights (Chaudhry et al. 2018, eq. 3).

    In the class scenario only the classes of these tasks compete, as they do when the method is measured after task k.
    The cost grows with the square of the number of tasks. Arguments as of `JointReference`.
    """

    name = "cumulative"

    def __init__(self, stream: Stream, net: nn.Module, training: Training, compute: Compute, draws: Draws):
        super().__init__(stream, net, training, compute, draws)
        self.tasks, self.heads, self.initial = stream.tasks, copy.deepcopy(stream.heads), self.net

    def measure(self, display: Display) -> list[float]:
        """Train a network for each task. Returns the accuracy of each on its own task. Raises RunError."""
        accuracies = []
        for number in range(len(self.tasks)):
            heads = copy.deepcopy(self.heads)
            heads.begin_task(self.tasks[number].train.newest_task)
            self.stream = self.method.stream(replace(self.stream, tasks=self.tasks[: number + 1], heads=heads))
            self.net = copy.deepcopy(self.initial)
            self.train(display, f"reference: tasks 1 to {number + 1}")
            accuracies.append(accuracy(self.net, self.tests[number], self.method.logits))
        display.measured(accuracies)
        return accuracies

    def scores(self, matrix: Matrix, accuracies: list[float]) -> dict[str, float]:
        """Intransigence, given R and what `measure` returned."""
        return metrics.compared_with_cumulative(matrix, accuracies)
