"""Progress of a run on stderr: a live bar on a terminal, plain lines otherwise."""

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from mlbench.core.plain_console import PlainConsole
from mlbench.runs.results import Passage
from mlbench.runs.token_text import rich_text
from mlbench.training.fit_state import Progress as FitProgress

LINE_SECONDS = 10.0  # at most one plain line in this time within an epoch


class Display:
    """Progress of the fits of one run."""

    def __init__(self, console: Console | None = None):
        self.console = console or PlainConsole(stderr=True)
        self.bar: Progress | None = None
        self.title, self.accuracy = "", ""

    def start(self, title: str, total: int, progress: FitProgress) -> None:
        """Begin or continue to show a fit over `total` examples, all epochs together."""
        self.stop()
        self.title, self.total = title, total
        self.start_time, self.start_samples, self.line_time = time.monotonic(), progress.samples, time.monotonic()
        if self.console.is_terminal:
            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=8),
                TextColumn("{task.fields[facts]}", markup=False),
                TimeRemainingColumn(),
            )
            self.bar = Progress(*columns, console=self.console, transient=True, refresh_per_second=4)
            self.bar.start()
            self.job = self.bar.add_task(title, total=total, completed=progress.samples, facts="")

    def advance(self, progress: FitProgress) -> None:
        """Show the progress of the fit, with the loss of the last complete epoch."""
        if self.bar is not None:
            self.bar.update(self.job, completed=progress.samples, facts=self.facts(progress))
        elif time.monotonic() - self.line_time >= LINE_SECONDS:
            self.line_time = time.monotonic()
            left = (self.total - progress.samples) / max(self.speed(progress), 1e-9)
            self.note(f"{self.title}: {self.facts(progress)}, {duration(left)} left")

    def facts(self, progress: FitProgress) -> str:
        """Return epoch, loss, accuracy and speed in a few words."""
        epoch = len(progress.losses) + (progress.order is not None)
        loss = f", loss {progress.losses[-1]:.3f}" if progress.losses else ""
        return f"epoch {epoch}{loss}{self.accuracy}, {self.speed(progress):,.0f} samples/s"

    def speed(self, progress: FitProgress) -> float:
        """Return samples per second in this process."""
        return (progress.samples - self.start_samples) / max(time.monotonic() - self.start_time, 1e-9)

    def measured(self, accuracies: list[float]) -> None:
        """Show the accuracies (0 to 1) on the tasks so far, after a fit."""
        self.stop()
        mean = sum(accuracies) / len(accuracies)
        self.accuracy = f", accuracy {mean:.3f}"
        own = f", on this task {accuracies[-1]:.3f}" if len(accuracies) > 1 else ""
        self.note(f"{self.title}: accuracy {mean:.3f}{own}")

    def estimate(self, seconds: float) -> None:
        """Show how long the whole run will take."""
        self.note(f"estimate: about {duration(seconds)} for all tasks")

    def note(self, text: str) -> None:
        """Print a line that stays."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def table(self, table: Table) -> None:
        """Print a table that stays."""
        self.console.print(table, highlight=False)

    def passages(self, passages: list[Passage]) -> None:
        """Print coloured texts on a terminal."""
        if self.console.is_terminal:
            for passage in passages:
                self.console.print(rich_text(passage), highlight=False)

    def stop(self) -> None:
        """Remove the bar."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


def duration(seconds: float) -> str:
    """Return a duration in seconds, minutes or hours, for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
