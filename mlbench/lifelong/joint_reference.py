"""The reference of a lifelong method: joint training of the same network from the same initial weights."""

import copy

from torch import nn

from mlbench.core.errors import RunError
from mlbench.core.rng import Draws
from mlbench.data.stream import Stream
from mlbench.lifelong import metrics
from mlbench.lifelong.bounds.joint import Joint
from mlbench.lifelong.metrics import Matrix
from mlbench.runs.console import Display
from mlbench.training.compute import Compute
from mlbench.training.evaluation import accuracy
from mlbench.training.fit_state import Progress, Session
from mlbench.training.loop import fit
from mlbench.training.optimizer import Training


class JointReference:
    """Joint training, prepared before the first task and run after the last: `lifelong=joint` with the same seed.

    The network is copied and the states of the random generators are saved at the start. The numbers of the method are
    therefore the same with and without a reference, and a resumed run gets the same reference.

    It trains for as many epochs as `training` says, which may be more than the method's own.

    Args:
        stream: The tasks as they are, whatever the method makes of them.
        net: The initial network.
        training: The settings of the training.
        compute: The device and the precision.
        draws: The random generators of the run.
    """

    name = "joint"

    def __init__(self, stream: Stream, net: nn.Module, training: Training, compute: Compute, draws: Draws):
        self.tests = [task.test for task in stream.tasks]
        self.method = Joint(None)
        self.stream, self.net = self.method.stream(stream), copy.deepcopy(net)
        self.training, self.compute, self.draws = training, compute, draws
        self.start = draws.state()

    def measure(self, display: Display) -> list[float]:
        """Train on all tasks together.

        Args:
            display: Shows the progress.

        Returns:
            The accuracy on each task.

        Raises:
            RunError: If the training diverges.
        """
        self.train(display, "reference: joint training")
        accuracies = [accuracy(self.net, test, self.method.logits) for test in self.tests]
        display.measured(accuracies)
        return accuracies

    def train(self, display: Display, title: str) -> None:
        """Train on the one task of the stream, with the random draws of the run's start. Raises RunError."""
        self.draws.load_state(self.start)
        self.method.begin(self.stream, self.training, self.compute, self.draws.method)
        (task,) = self.stream.tasks
        progress = Progress()
        display.start(title, len(task.train) * self.training.epochs, progress)
        settings = (self.training, self.compute, self.draws.batches, Session(progress, display.advance))
        try:
            fit(self.net, task.train, self.method, *settings)
        except RunError as error:
            raise RunError(f"reference={self.name}: {error}") from error

    def scores(self, matrix: Matrix, accuracies: list[float]) -> dict[str, float]:
        """The comparison with the method, given R and what `measure` returned."""
        return metrics.compared_with_joint(matrix, accuracies)
