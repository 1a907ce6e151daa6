"""A run's folder: config, environment, metrics, tables, figures, checkpoints, and the done marker, in that order."""

import json
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import torch

from mlbench.core.atomic_io import open_to_append, write_json, write_text
from mlbench.core.errors import RunError, UserError
from mlbench.core.interruption import interruption
from mlbench.runs import layout
from mlbench.runs.checkpoint import Trained
from mlbench.runs.checkpoint_file import read_state, write_tensors
from mlbench.runs.console import Display
from mlbench.runs.provenance import environment, now, recorded
from mlbench.runs.run_repair import check_links, clean, clear
from mlbench.runs.run_state import record_begin, record_exit
from mlbench.runs.tracking import Tracker
from mlbench.training.fit_state import Progress, Watch

Keep = Literal["last", "tasks", "all"]
SAVE_SECONDS = float(os.environ.get("MLBENCH_SAVE_SECONDS", "30"))  # between checkpoints within a task


class Run:
    """The folder of a run while it is being made; a context manager. The caller has locked the folder.

    Args:
        folder: the folder, which has its config already.
        identity: what the summary says of the run: family, technique, data, model and seed.
        keep: which checkpoints stay: the last one, one of each task, or all.
        device: where the run computes.
        display: what shows its progress.
        tracker: what passes its measurements on to an experiment tracker.
        inputs: the files and folders that the run reads.
    """

    def __init__(
        self,
        folder: Path,
        identity: dict[str, Any],
        keep: Keep,
        device: torch.device,
        display: Display,
        tracker: Tracker,
        inputs: Iterable[Path] = (),
    ):
        self.folder, self.identity, self.keep, self.display = folder, identity, keep, display
        self.device, self.tracker, self.inputs = device, tracker, inputs
        self.last = folder / layout.CHECKPOINTS / layout.LAST
        self.save_time = self.start_time = time.monotonic()
        self.before = 0.0  # wall seconds of earlier processes

    def __enter__(self) -> "Run":
        try:
            check_links(self.folder)
            clean(self.folder)
            record_begin(self.folder)
            if (self.folder / layout.ENVIRONMENT).exists() and not recorded(self.folder):
                self.display.note(f"{self.folder / layout.ENVIRONMENT} says nothing of how the run began; written anew")
            self.environment = environment(self.device, self.folder, self.inputs)
            self.metrics = open_to_append(self.folder / layout.METRICS)
            write_json(self.folder / layout.ENVIRONMENT, self.environment)
        except (OSError, RunError) as error:
            raise UserError(f"cannot write into {self.folder}: {error}") from error
        self.tracker.begin(self.folder, self.display.note)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        self.display.stop()
        self.tracker.close(kind is None)
        record_exit(self.folder, error)
        try:
            self.write_metrics(self.metrics.close)
        except RunError:
            if kind is None:
                raise

    def log(self, step: int, phase: str, task: int, split: str, metric: str, value: float) -> None:
        """Append one measurement to metrics.jsonl."""
        line = {"step": step, "phase": phase, "task": task, "split": split, "metric": metric, "value": value}
        self.write_metrics(lambda: self.metrics.write(json.dumps(line, allow_nan=False).encode() + b"\n"))

    def write_metrics(self, write: Callable[[], object]) -> None:
        """Write to metrics.jsonl. Raises RunError naming the file if that fails, as on a full disk."""
        try:
            write()
        except OSError as error:
            raise RunError(f"cannot write {self.folder / 'metrics.jsonl'}: {error.strerror}") from error

    def sync_metrics(self) -> None:
        """Put metrics.jsonl on the disk. Raises RunError."""
        self.write_metrics(self.metrics.flush)
        self.write_metrics(lambda: os.fsync(self.metrics.fileno()))

    def save(self, state: dict[str, Any]) -> None:
        """Write a checkpoint to resume from and replace the previous one. Raises RunError on a full disk."""
        self.sync_metrics()
        seconds = self.before + time.monotonic() - self.start_time
        own = {"metrics_bytes": self.metrics.tell(), "wall_seconds": seconds, "device": self.device.type}
        write_tensors(self.last, {**state, **own})
        self.tracker.follow(own["metrics_bytes"])
        self.save_time = time.monotonic()

    def save_now_and_then(self, state: Callable[[], dict[str, Any]]) -> None:
        """Write a checkpoint within a task if the last one is SAVE_SECONDS old, or if the run is about to stop."""
        if interruption.signal is not None or time.monotonic() - self.save_time >= SAVE_SECONDS:
            self.save(state())

    def follow(
        self,
        task: int,
        progress: Progress,
        state: Callable[[], dict[str, Any]],
        network: Callable[[], Trained] | None,
        prefix: str = "",
    ) -> Watch:
        """Return a callback of `fit` that shows progress, logs the loss of each epoch and saves checkpoints.

        Args:
            task: Number of the task, from 1.
            progress: Progress of the fit so far.
            state: Returns the state to resume from.
            network: Returns the network, which keep=all saves after each epoch; None saves none.
            prefix: Beginning of the names of these networks.
        """
        epochs = len(progress.losses)

        def watch(progress: Progress) -> None:
            nonlocal epochs
            self.display.advance(progress)
            validation = {"loss": progress.validation_losses, "accuracy": progress.validation_accuracies}
            for epoch, loss in enumerate(progress.losses[epochs:], start=epochs + 1):
                self.log(epoch, "train", task, "train", "loss", loss)
                for metric, values in validation.items():
                    if len(values) >= epoch:
                        self.log(epoch, "train", task, "validation", metric, values[epoch - 1])
                if self.keep == "all" and network is not None:
                    self.save_network(network(), f"{prefix}epoch_{epoch:03d}")
            epochs = len(progress.losses)
            self.save_now_and_then(state)

        return watch

    def keep_task(self, network: Trained, name: str) -> None:
        """Save the network after a task if the setting `keep` asks for it."""
        if self.keep != "last":
            self.save_network(network, name)

    def saved(self) -> dict[str, Any] | None:
        """Return the state to resume from and cut metrics.jsonl back to it; None for a new run. Raises UserError."""
        state = read_state(self.last) if self.last.exists() else None
        length = state["metrics_bytes"] if state else 0
        if (self.folder / layout.METRICS).stat().st_size < length:
            raise UserError(f"{self.folder / 'metrics.jsonl'} is shorter than the checkpoint says; it was changed")
        self.metrics.truncate(length)
        self.metrics.seek(0, os.SEEK_END)  # or tell() would go on from the old end
        if state is not None:
            if state["device"] != self.device.type:  # vectors lie in another order there
                raise UserError(
                    f"{self.folder} was begun on {state['device']}; resume it with device={state['device']}"
                )
            self.before = state["wall_seconds"]
            self.display.note(f"going on with {self.folder}")
        return state

    def save_network(self, network: Trained, name: str) -> None:
        """Save a network in the checkpoints folder."""
        network.save(self.folder / layout.CHECKPOINTS / name)

    def finish(
        self,
        network: Trained,
        metrics: dict[str, float],
        costs: dict[str, float],
        headlines: dict[str, str],
        kind: str = "",
    ) -> None:
        """Write the trained network and summary.json, which marks the run as finished, and remove its resume state.

        Args:
            network: the trained network.
            metrics: metric -> value; none that is not finite.
            costs: cost -> seconds, bytes or a count; `train_seconds` is among them.
            headlines: the metrics that tables show, the most important first -> `high` or `low`, whichever is good,
                or an empty text.
            kind: only runs of one kind are compared with one another.

        Raises:
            RunError: a file cannot be written.
        """
        self.save_network(network, layout.MODEL)
        self.sync_metrics()
        costs = {**costs, "wall_seconds": self.before + time.monotonic() - self.start_time}
        write_json(self.folder / layout.ENVIRONMENT, {**self.environment, "ended": now()})
        schemas = {"schema": layout.SCHEMA, "tables_schema": layout.TABLES_SCHEMA}
        results = {"kind": kind, "headlines": headlines, "metrics": metrics, "costs": costs}
        summary = {**schemas, "status": "done", **self.identity, **results}
        rows = "".join(f"| {name} | {value:.4f} |\n" for name, value in metrics.items())
        write_text(self.folder / layout.RESULT_TABLE, f"| metric | value |\n| --- | --- |\n{rows}")
        write_json(self.folder / layout.SUMMARY, summary)
        clear(self.folder)
        self.tracker.finish(self.metrics.tell(), metrics, costs)
