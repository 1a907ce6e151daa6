"""The costs of learning: seconds, examples and bytes."""

from dataclasses import dataclass, field

from torch import Tensor

from mlbench.training.fit_state import Progress


def tensor_bytes(value: object) -> int:
    """Bytes of all tensors inside nested dicts, lists and tuples."""
    if isinstance(value, Tensor):
        return value.nbytes
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return sum(tensor_bytes(part) for part in parts)


@dataclass
class Costs:
    """The costs of all tasks learned so far; lists have one entry for each task."""

    train_seconds: float = 0.0
    consolidate_seconds: float = 0.0
    eval_seconds: float = 0.0
    samples_processed: int = 0
    earlier_examples: int = 0  # of earlier tasks, the most that the training data of a task held
    task_seconds: list[float] = field(default_factory=list)
    task_consolidate_seconds: list[float] = field(default_factory=list)
    task_samples: list[int] = field(default_factory=list)

    def add(self, progress: Progress, consolidate_seconds: float) -> None:
        """Add the costs of one task.

        Args:
            progress: The finished fit.
            consolidate_seconds: Time that the method took at the end of the task.
        """
        self.train_seconds += progress.seconds
        self.consolidate_seconds += consolidate_seconds
        self.samples_processed += progress.samples
        self.task_seconds.append(progress.seconds)
        self.task_consolidate_seconds.append(consolidate_seconds)
        self.task_samples.append(progress.samples)

    def totals(self) -> dict[str, float]:
        """The costs of the whole run, for summary.json."""
        own = ("earlier_examples", "task_seconds", "task_consolidate_seconds", "task_samples")
        return {name: value for name, value in vars(self).items() if name not in own}

    def rows(self, names: list[str]) -> list[list[object]]:
        """The rows of tasks.csv for tasks with these `names`: number, name, seconds, seconds, examples."""
        columns = (names, self.task_seconds, self.task_consolidate_seconds, self.task_samples)
        return [[number, *row] for number, row in enumerate(zip(*columns, strict=True), start=1)]
