"""What a lifelong method is measured against: the same network, from the same start, learns all tasks at once."""

import copy

from torch import nn

from mlbench.core.errors import RunError
from mlbench.core.rng import Draws
from mlbench.data.stream import Stream
from mlbench.lifelong.bounds.joint import Joint
from mlbench.runs.console import Display
from mlbench.training.compute import Compute
from mlbench.training.evaluation import accuracy
from mlbench.training.fit_state import Progress
from mlbench.training.loop import fit
from mlbench.training.optimizer import Training


class Reference:
    """Joint training, made before the first task and measured after the last: what `lifelong=joint` does at this seed.

    The network is a copy, and the generators are put back to where they stood when it was made, so that the method's
    numbers are the same with and without it, and a resumed run finds the same reference.
    """

    def __init__(self, stream: Stream, net: nn.Module, training: Training, compute: Compute, draws: Draws):
        self.tests = [task.test for task in stream.tasks]
        self.method = Joint()
        self.stream, self.net = self.method.stream(stream), copy.deepcopy(net)
        self.training, self.compute, self.draws = training, compute, draws
        self.start = draws.state()

    def measure(self, display: Display) -> list[float]:
        """Train, and the accuracy on every task. Raises RunError when the training diverges."""
        self.draws.load_state(self.start)
        self.method.begin(self.stream, self.training, self.compute, self.draws.method)
        (task,) = self.stream.tasks
        progress = Progress()
        display.start("reference: joint training", len(task.train) * self.training.epochs, progress)
        where = (self.training, self.compute, self.draws.batches, progress, display.advance)
        try:
            fit(self.net, task.train, self.method, *where)
        except RunError as error:
            raise RunError(f"reference=joint: {error}") from error
        accuracies = [accuracy(self.net, test, self.method.logits) for test in self.tests]
        display.measured(accuracies)
        return accuracies
