"""The runner of the lifelong family: it trains and measures every method in the same way."""

import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from torch import nn

from mlbench.core.errors import RunError, UserError
from mlbench.data.stream import Stream, Task
from mlbench.experiment.checked_config import CheckedConfig
from mlbench.experiment.runner import Runner, RunnerFactory
from mlbench.lifelong import metrics, tables
from mlbench.lifelong.base import Method
from mlbench.lifelong.bounds.joint import Joint
from mlbench.lifelong.budget import answers_by_task, earlier_examples
from mlbench.lifelong.costs import Costs, tensor_bytes
from mlbench.lifelong.cumulative_reference import CumulativeReference
from mlbench.lifelong.deployment import Deployment
from mlbench.lifelong.joint_reference import JointReference
from mlbench.lifelong.rehearsal import rehearse
from mlbench.models.parameter_count import parameter_count
from mlbench.runs.checkpoint_file import each_tensor
from mlbench.training.evaluation import accuracy
from mlbench.training.fit_state import Progress, Session
from mlbench.training.loop import examples_in_epoch, fit

REFERENCES = {"joint": JointReference, "cumulative": CumulativeReference}  # the setting `reference`
BACKWARD = 3  # forward and backward pass together cost about three forward passes


@dataclass
class Lifelong(Runner):
    """One run of one method over one stream."""

    method: Method
    reference_class: type[JointReference] | None = None  # what is measured as a reference
    reference_epochs: int | None = None  # of its training; None: train.epochs
    matrix: list[list[float] | None] = field(default_factory=list)  # R, row i after learning i tasks
    costs: Costs = field(default_factory=Costs)
    learned: int = 0
    measured: int = -1  # tasks learned when R was last measured
    progress: Progress | None = None  # of the task being learned

    def __post_init__(self):
        self.tests = [task.test for task in self.stream.tasks]
        self.names = [task.name for task in self.stream.tasks]
        self.examples = sum(len(task.train) for task in self.stream.tasks)
        self.reference = None
        if self.reference_class is not None:
            training = replace(self.training, epochs=self.reference_epochs or self.training.epochs)
            self.reference = self.reference_class(self.stream, self.net, training, self.compute, self.draws)
        self.deployment = Deployment(self.stream, self.draws) if self.stream.feedback else None
        self.matrix = [None] * (len(self.tests) + 1)
        self.training = self.method.task_training(self.training)
        self.stream = self.method.stream(self.stream)
        self.method.begin(self.stream, self.training, self.compute, self.draws.method)

    def __call__(self) -> None:
        """Learn and measure one task after another, starting at the run's checkpoint, and write the results."""
        self.resume()
        while True:
            if self.measured < self.learned:  # also after a measurement that failed: what was learned is saved
                self.measure()
            if self.learned == len(self.stream.tasks):
                break
            self.learn(self.learned, self.stream.tasks[self.learned])
        self.finish()

    def learn(self, number: int, task: Task) -> None:
        """Train on one task (`number` from 0), let the method consolidate, and save."""
        title = f"task {number + 1}/{len(self.stream.tasks)} ({task.name})"
        self.stream.heads.begin_task(task.train.newest_task)
        if self.deployment is not None:
            if self.progress is None and number:
                predictor, asks = self.method.predictor(self.net, number), bool(len(task.train))
                online = self.deployment.serve(number, predictor, self.method.logits, asks)
                self.run.log(number, "serve", number + 1, "train", "online_accuracy", online)
            task = self.deployment.learnable(task)
        if not examples_in_epoch(self.net, len(task.train), self.training.batch_size):
            self.run.display.start(title, 0, Progress())
            self.end(number, Progress(), 0.0)  # nothing to learn from
            return
        self.costs.earlier_examples = max(self.costs.earlier_examples, earlier_examples(task))
        if self.progress is None:
            self.net = self.method.start_task(self.net, task)
            self.progress = Progress()
        progress, label, examples = self.progress, task_label(number), self.method.examples(task.train)
        total = len(examples) * self.training.epochs
        self.run.display.start(title, total, progress)
        watch = self.run.follow(number + 1, progress, self.state, lambda: self.describe(self.net), f"{label}_")
        try:
            settings = (self.training, self.compute, self.draws.batches)
            session = Session(progress, watch, accuracy=lambda split: accuracy(self.net, split, self.method.logits))
            theta = fit(self.net, examples, self.method, *settings, session)
        except RunError as error:
            raise RunError(f"task {number + 1} ({task.name}): {error}") from error
        began, before = time.perf_counter(), self.compute.samples
        self.method.end_task(self.net, theta, task)
        self.compute.wait()
        self.costs.samples_processed += self.compute.samples - before  # what the method trained by itself
        self.end(number, progress, time.perf_counter() - began)

    def end(self, number: int, progress: Progress, consolidation: float) -> None:
        """Add the costs of the task (`consolidation` in seconds) and save."""
        self.costs.add(progress, consolidation)
        self.learned, self.progress = number + 1, None
        self.run.keep_task(self.describe(self.net), task_label(number))
        self.run.save(self.state())

    def measure(self) -> None:
        """Measure a row of R, the accuracy on every task now. Joint training has only the last row."""
        joint = self.method.joint
        self.measured = self.learned
        if joint and not self.learned:
            return
        row = len(self.tests) if joint else self.learned
        began = time.perf_counter()
        accuracies = []
        for number, test in enumerate(self.tests):
            value = accuracy(self.method.predictor(self.net, number), test, self.method.logits)
            accuracies.append(value)
            self.run.log(row, "eval", number + 1, "test", "accuracy", value)
        self.matrix[row] = accuracies
        seconds = time.perf_counter() - began
        self.costs.eval_seconds += seconds
        if row:
            self.run.display.measured(accuracies[:row])
        if self.learned == 1 and not joint:
            self.estimate(seconds)

    def estimate(self, row_seconds: float) -> None:
        """After the first task, show an estimate of the time for all (`row_seconds`: to measure a row of R)."""
        tasks = self.stream.tasks
        sizes = [self.method.training_size(task) * self.training.epochs for task in tasks]
        forward = row_seconds / sum(len(test) for test in self.tests)
        replayed = sum(size * self.method.replay_ratio(number) for number, size in enumerate(sizes))
        training = self.costs.task_seconds[0] * sum(sizes) / sizes[0] + BACKWARD * forward * replayed
        between = row_seconds + self.costs.consolidate_seconds
        self.run.display.estimate(training + between * (len(tasks) + 1))

    def state(self) -> dict[str, Any]:
        """Everything a resumed run needs."""
        return {
            "network": self.describe(self.net).packed(),
            "method": self.method.state(),
            "samples_replayed": self.method.samples_replayed,
            "samples_consolidated": self.method.samples_consolidated,
            "heads": vars(self.stream.heads),
            "matrix": self.matrix,
            "costs": vars(self.costs),
            "learned": self.learned,
            "measured": self.measured,
            "progress": self.progress.state() if self.progress is not None else None,
            "draws": self.draws.state(),
            "service": self.deployment.state() if self.deployment is not None else None,
        }

    def load(self, saved: dict[str, Any]) -> None:
        """Restore what `state` returned. Raises an exception of any class for what is none."""
        if not 0 <= int(saved["measured"]) <= int(saved["learned"]) <= len(self.stream.tasks):
            raise ValueError(f"it has learned {saved['learned']} tasks and measured {saved['measured']}")
        if len(saved["matrix"]) != len(self.matrix):
            raise ValueError(f"its accuracy matrix has {len(saved['matrix'])} rows")
        device = self.compute.device
        state = each_tensor(saved["method"], lambda tensor: tensor.to(device))
        self.net = self.method.load_state(state, self.net)
        self.load_weights(saved["network"])
        self.method.samples_replayed = saved["samples_replayed"]
        self.method.samples_consolidated = saved.get("samples_consolidated", 0)  # younger than the rest
        vars(self.stream.heads).update(saved["heads"])
        self.matrix, self.learned, self.measured = saved["matrix"], saved["learned"], saved["measured"]
        self.costs = Costs(**saved["costs"])
        self.progress = Progress.from_state(saved["progress"]) if saved["progress"] is not None else None
        self.draws.load_state(saved["draws"])
        if self.deployment is not None:
            self.deployment.load_state(saved["service"])

    def finish(self) -> None:
        """Write metrics, costs, tables, figures and the trained networks; last the summary, the done marker."""
        state = self.method.state()
        costs = {
            "parameters": parameter_count(self.describe(net).net for net in self.method.networks(self.net)),
            "state_bytes": tensor_bytes({k: v for k, v in state.items() if k not in ("memory", "networks")}),
            "memory_bytes": tensor_bytes(state.get("memory", {})),
            **self.costs.totals(),
            "samples_replayed": self.method.samples_replayed,
            "samples_consolidated": self.method.samples_consolidated,
            "samples_per_second": sum(self.costs.task_samples) / self.costs.train_seconds,
            **self.budget(),
        }
        scores = metrics.scores(self.matrix, forward=self.stream.scenario != "class") | self.method.metrics()
        tables.write_matrix(self.run.folder, self.matrix, self.names)
        if self.deployment is not None:
            scores |= self.deployment.scores(self.matrix)
            tables.write_rounds(self.run.folder, self.deployment.rows(self.matrix))
        tables.write_tasks(self.run.folder, self.costs.rows([task.name for task in self.stream.tasks]))
        for number in range(len(self.tests)):
            predictor = self.method.predictor(self.net, number)
            if predictor is not self.net:  # task_* is what keep=tasks calls the network after each task
                self.run.save_network(self.describe(predictor), f"answers_{task_label(number)}")
        if self.reference is not None:
            began = time.perf_counter()
            references = self.reference.measure(self.run.display)
            costs["reference_seconds"] = time.perf_counter() - began
            for number, value in enumerate(references, start=1):
                self.run.log(len(references), "reference", number, "test", "accuracy", value)
            scores |= self.reference.scores(self.matrix, references)
        headlines = (metrics.HEADLINES,) if self.deployment is None else (Deployment.HEADLINES, "in service")
        self.run.finish(self.describe(self.net), scores, costs, *headlines)

    def budget(self) -> dict[str, float]:
        """What methods must share to be compared: passes over the data, stored examples, whether the task is told."""
        samples = self.costs.samples_processed + self.method.samples_replayed + self.method.samples_consolidated
        stored = 0 if self.method.buffer is None else len(self.method.buffer)
        return {
            "passes": samples / self.examples,
            "memory_examples": stored + self.costs.earlier_examples,
            "task_told": int(self.stream.scenario == "task" or answers_by_task(self.method, self.net, self.tests)),
        }


def task_label(number: int) -> str:
    """The name of task `number` (from 0) in file names."""
    return f"task_{number + 1:02d}"


def prepare(config: CheckedConfig, stream: Stream, net: nn.Module) -> RunnerFactory:
    """Check that the method is defined for the stream, and rehearse it on the network.

    With the setting `reference`, joint training is measured as well, unless the method is joint training.

    Args:
        config: The settings of the run.
        stream: The tasks.
        net: The initial network.

    Returns:
        What makes the runner.

    Raises:
        UserError: If the method is not defined for the stream, its scenario, or early stopping, or cannot learn with
            the network.
    """
    method, name = config.technique, config.names["lifelong"]
    if stream.scenario is None:
        raise UserError(
            f"lifelong={name} needs a stream of tasks, and this data is a single task\n"
            "take split_*, permuted_*, rotated_* or feedback_* data, as in data=split_mnist (see `mlbench list data`)"
        )
    if stream.feedback is not None and method.joint:
        raise UserError(
            f"lifelong={name} learns everything at once, but feedback comes round by round: take lifelong=cumulative"
        )
    if stream.scenario not in method.scenarios:
        allowed = "|".join(method.scenarios)
        raise UserError(f"lifelong={name} is not defined for data.scenario={stream.scenario}: allowed is {allowed}")
    if config.training.patience and not method.early_stopping:
        raise UserError(
            f"lifelong={name} needs the whole path of the parameters through a task, "
            "part of which early stopping undoes: take train.patience=0 and train.validation=0"
        )
    rehearse(config, stream, net)
    settings = config.settings
    reference = None if settings.reference is None or isinstance(method, Joint) else REFERENCES[settings.reference]
    epochs = settings.reference_epochs
    return partial(Lifelong, method=method, reference_class=reference, reference_epochs=epochs)
