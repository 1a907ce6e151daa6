"""What is drawn of accuracies over a stream of tasks, on figures and on pages; without matplotlib."""

from collections.abc import Callable, Sequence
from statistics import fmean

OVER_TIME: dict[str, tuple[str, Callable[[int, Sequence[float]], float]]] = {
    # metrics of the tasks learned so far: what they are, and their value from the row of R after so many tasks
    "average_accuracy": ("average accuracy on the tasks so far", lambda learned, row: fmean(row[:learned])),
    "first_task_accuracy": ("accuracy on the first task", lambda learned, row: row[0]),  # noqa: ARG005
}
