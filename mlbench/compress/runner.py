"""The runner of the compression family: it gets a dense network, compresses it, and measures every point alike."""

import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from mlbench.compress.base import Method, Point, model_config, weights
from mlbench.compress.measurement.client import FreshProcess
from mlbench.compress.measurement.export import WHITE, export
from mlbench.compress.measurement.points import (
    Row,
    complete,
    compression_ratio,
    correct_predictions,
    write_table,
)
from mlbench.compress.rehearsal import rehearse
from mlbench.core.errors import SettingError, UserError
from mlbench.core.rng import apart
from mlbench.core.statistics import spread
from mlbench.data.modality import Pictures
from mlbench.data.stream import Stream
from mlbench.experiment.checked_config import CheckedConfig
from mlbench.experiment.model_setup import build_network, read_matching
from mlbench.experiment.multi_fit_runner import MultiFitRunner, check_single_task
from mlbench.experiment.runner import RunnerFactory
from mlbench.reporting.figures import grids, plots
from mlbench.runs import layout
from mlbench.runs.codec import container
from mlbench.runs.codec.tensors import why_not_written
from mlbench.runs.point_columns import LAYER_COLUMNS, POINT_COLUMNS

HEADLINES = {  # metrics that tables show, and which end is better
    "accuracy": "high",
    "error_increase": "low",
    "ratio": "high",
    "macs_saved": "high",
    "speedup": "high",
}

NAMED = 3  # matrices that a note names


@dataclass
class Compress(MultiFitRunner):
    """One run of one compression method on one network; it is also the `Context` that the method works with.

    Attributes:
        rows: What the worker measured of each point so far, the dense network first.
    """

    rows: list[Row] = field(default_factory=list)

    def __post_init__(self):
        super().__post_init__()
        self.method: Method = self.config.technique
        self.fits.seconds |= {"finetune": 0.0, "measure": 0.0}

    def __call__(self) -> None:
        """Measure the dense network and every point that the method yields."""
        self.resume()
        settings = self.config.settings
        with FreshProcess(self.stream.tasks[0].test, settings.latency_batch, self.config.dirs) as self.fresh:
            self.say_what_stays()
            result = Point("dense", self.dense())
            self.fits.phase = "finetune"
            self.measure(0, result)
            for step, point in enumerate(self.method.compress(result, self), start=1):
                self.measure(step, point)
                result = point
            self.finish(result)

    def say_what_stays(self) -> None:
        """Name the matrices that the method leaves as they are, and their share of the parameters."""
        changed = {id(weight) for weight in self.method.changed(self.net).values()}
        left = {name: p.numel() for name, p in self.net.named_parameters() if p.ndim > 1 and id(p) not in changed}
        if left:
            names, total = list(left), sum(p.numel() for p in self.net.parameters())
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            share = f"{sum(left.values()) / total:.1%} of the parameters"
            self.run.display.note(f"stays as it is: {', '.join(names[:NAMED])}{more} ({share})")

    def measure(self, step: int, point: Point) -> None:
        """Write the point's artefact, and let another process read and measure it.

        Args:
            step: Number of the point; one that was measured before the run was interrupted is skipped.
            point: The network to measure.
        """
        if step < len(self.rows):
            return
        start = time.perf_counter()
        path = self.artefact(step)
        container.write(path, self.describe(point.net, model_config(point)).packed(), point.entropy)
        row = {"stage": point.stage, **self.fresh.ask("point", path=str(path))}
        with apart(self.compute.device):  # building the network again must not change later draws
            settings = self.config.settings
            for form in settings.export:
                about = (self.input_shape, self.config.dirs, self.stream.modality, settings.export_range)
                export(form, path, *about)
        known = {line for earlier in self.rows for line in earlier.get("notes", [])}
        self.rows.append(row)
        self.fits.seconds["measure"] += time.perf_counter() - start
        self.run.log(step, "eval", 1, "test", "accuracy", row["accuracy"])
        self.run.log(step, "eval", 1, "test", "bytes", row["bytes"])
        ratio = compression_ratio(row, self.rows[0])
        smaller = "" if ratio is None else f" ({ratio:.1f}x)"
        self.run.display.note(f"{point.stage}: accuracy {row['accuracy']:.4f}, {row['bytes']:,} bytes{smaller}")
        for line in row["notes"]:
            if line not in known:
                self.run.display.note(line)
        self.run.save(self.state(None))

    def artefact(self, step: int) -> Path:
        """The path of a point's artefact."""
        return self.run.folder / layout.ARTEFACTS / f"point_{step:02d}.mlb"

    def state(self, under_way: dict[str, Any] | None) -> dict[str, Any]:
        """See `MultiFitRunner`."""
        return {**super().state(under_way), "rows": self.rows}

    def load(self, saved: dict[str, Any]) -> None:
        """See `MultiFitRunner`."""
        super().load(saved)
        self.rows = saved["rows"]

    def finish(self, result: Point) -> None:
        """Measure latencies, and write the tables, the figures and the summary; `result` is the last point."""
        latencies, layers = self.measure_speed()
        self.rows = complete(self.rows, latencies)
        folder = self.run.folder
        write_table(folder / layout.POINTS, POINT_COLUMNS, self.rows)
        write_table(folder / layout.LAYERS, LAYER_COLUMNS, layers)
        plots.draw_points(folder / layout.POINTS, folder / layout.FIGURES)
        test = self.stream.tasks[0].test
        for name, rows in self.method.grids(test).items():
            grids.draw_grid(rows, folder / layout.FIGURES / f"{name}.png", upwards=self.stream.modality.upwards)
        correct = np.array([correct_predictions(row, len(test)) for row in self.rows])  # [points, N]
        metrics = self.metrics(latencies, correct)
        if self.dropped:
            metrics |= self.dropped_accuracies(np.isin(test.labels.cpu(), self.dropped), correct)
        metrics |= self.method.metrics(self.rows, correct)
        costs = self.fits.costs()
        if (parameters := self.rows[-1]["parameters"]) is not None:
            costs["parameters"] = parameters
        self.run.finish(self.describe(result.net, model_config(result)), metrics, costs, HEADLINES)

    def measure_speed(self) -> tuple[np.ndarray, list[Row]]:
        """Measure the latencies of all points, and each layer of the first and of the last point.

        Returns:
            Milliseconds of a batch, [points, rounds], and the rows of layers.csv.
        """
        start = time.perf_counter()
        paths = [str(self.artefact(step)) for step in range(len(self.rows))]
        self.run.display.note("measuring latencies")
        latencies = np.array(self.fresh.ask("latencies", paths=paths))
        layers = [
            {"step": step, **layer}
            for step in sorted({0, len(paths) - 1})
            for layer in self.fresh.ask("layers", path=paths[step])
        ]
        self.fits.seconds["measure"] += time.perf_counter() - start
        return latencies, layers

    def metrics(self, latencies: np.ndarray, correct: np.ndarray) -> dict[str, float]:
        """Compare the last point with the dense network.

        Args:
            latencies: Milliseconds of a batch, [points, rounds].
            correct: Whether each point classifies each test example correctly, bool [points, N].

        Returns:
            The metrics of summary.json; `error_increase` has its paired 95 % interval over test examples.
        """
        dense, last = self.rows[0], self.rows[-1]
        increase = spread((correct[0].astype(float) - correct[-1]).tolist())
        interval = {}
        if increase.half is not None:  # more than one test example
            low, high = increase.mean - increase.half, increase.mean + increase.half
            interval = {"error_increase_low": low, "error_increase_high": high}
        counts = {}
        if dense["parameters"] is not None:
            shares = {"nonzero_share": last["nonzero"] / dense["parameters"]}
            counts = {"ratio": last["ratio"], **shares, "macs_saved": dense["macs"] / max(last["macs"], 1.0)}
        return {
            "accuracy": last["accuracy"],
            "error": last["error"],
            "dense_error": dense["error"],
            "error_increase": dense["accuracy"] - last["accuracy"],
            **interval,
            "bytes": last["bytes"],
            **counts,
            "speedup": float(np.median(latencies[0] / latencies[-1])),
        }

    def dropped_accuracies(self, dropped: np.ndarray, correct: np.ndarray) -> dict[str, float]:
        """The accuracy on test examples of classes that the training data lacks.

        Args:
            dropped: Whether each test example is of such a class, bool [N].
            correct: Whether each point classifies each test example correctly, bool [points, N].

        Returns:
            `dropped_accuracy` of the last point, and `dropped_accuracy_<stage>` of every point.
        """
        shares = correct[:, dropped].mean(1).tolist()
        stages = [row["stage"].replace(" ", "_") for row in self.rows]
        for step, share in enumerate(shares):
            self.run.log(step, "eval", 1, "test", "dropped_accuracy", share)
        by_stage = {f"dropped_accuracy_{stage}": share for stage, share in zip(stages, shares, strict=True)}
        return {"dropped_accuracy": shares[-1], **by_stage}


def prepare(config: CheckedConfig, stream: Stream, net: nn.Module) -> RunnerFactory:
    """Check the run before anything is trained or written, and return what makes its runner.

    Raises:
        UserError: For a stream of several tasks, for a reference, without validation data, and for settings, student
            models or teachers that do not fit the network or the data.
    """
    check_single_task(config, stream)
    if not config.training.validation:
        raise UserError(
            "train.validation=0: compression chooses by validation data; give a share of the training data, as .1"
        )
    for blueprint in config.technique.blueprints():
        build_network(blueprint, blueprint.path, stream)
    check_network(config, stream, net)
    try:
        config.technique.check(net)
    except SettingError as error:
        raise UserError(f"compress.{error}") from error
    for path in config.technique.networks():
        read_matching(path, stream)
    rehearse(config, stream, net)
    return partial(Compress, config=config)


def check_network(config: CheckedConfig, stream: Stream, net: nn.Module) -> None:
    """Raise UserError where the method, or `export`, cannot handle this network or this kind of data."""
    name = config.names["compress"]
    for entry, value in net.state_dict().items():
        if reason := why_not_written(value):
            raise UserError(f"compress={name} writes networks to files, and {entry} of this one {reason}")
    if config.technique.changes_weights and not weights(net):
        reason = "and this network has none of its own (int8 layers have whole numbers)"
        raise UserError(f"compress={name} changes the weights of linear and convolutional layers, {reason}")
    if config.settings.export_range != WHITE and type(stream.modality) is not Pictures:
        raise UserError(f"export_range is about pixels, and this data is {stream.modality.name}; leave it out")
    if config.settings.export and not stream.modality.exportable:
        raise UserError("export is for pictures and sounds: a network for texts computes only what is there of each")
