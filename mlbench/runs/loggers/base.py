"""The interface of experiment trackers; runs/tracking.py decides when its methods are called."""

from pathlib import Path
from typing import ClassVar, NamedTuple

from mlbench.core.errors import need


class Measurement(NamedTuple):
    """One number of a run."""

    phase: str  # what the step counts: epochs in `train`, tasks learned in `eval`, ...
    name: str  # phase/split/metric/task_01
    step: int
    value: float


class Logger:
    """A tracker; subclasses are dataclasses whose fields are its settings. What they raise is a warning, no more."""

    package: ClassVar[str]  # also the name of the extra that brings it

    def check(self) -> None:
        """Raise UserError where the tracker's package is not installed."""
        need(self.package, self.package, f"logger={self.package}")

    def begin(self, folder: Path, name: str, parameters: dict[str, object], run: str | None) -> str:
        """Start a run, or continue `run`, the value that `begin` returned for this folder before."""
        raise NotImplementedError

    def log(self, measurements: list[Measurement]) -> None:
        """Take numbers; they must not be lost when the process dies."""
        raise NotImplementedError

    def finish(self, results: dict[str, float], files: list[Path]) -> None:
        """Take what came out, and the tables and figures."""
        raise NotImplementedError

    def close(self, done: bool) -> None:
        """The run has ended, or was interrupted and may continue."""
        raise NotImplementedError
