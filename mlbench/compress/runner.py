"""The runner of the compression family: it trains or reads the dense network, and measures every point alike."""

import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf
from torch import nn

from mlbench.compress.base import Method, Point, weights
from mlbench.compress.measurement.client import FreshProcess
from mlbench.compress.measurement.export import export
from mlbench.core.atomic_io import write_csv
from mlbench.core.errors import SettingError, UserError
from mlbench.core.rng import apart
from mlbench.core.statistics import spread
from mlbench.data.stream import Stream
from mlbench.experiment.checked_config import CheckedConfig
from mlbench.experiment.model_setup import fitting, made
from mlbench.experiment.multi_fit_runner import Trainings, check_single_task
from mlbench.experiment.runner import RunnerFactory
from mlbench.reporting.figures import grids, plots
from mlbench.runs.codec import container

COLUMNS = ["step", "stage", "accuracy", "error", "parameters", "nonzero", "bytes", "ratio", "macs"]
COLUMNS += ["latency_ms", "latency_iqr_ms"]
FLOAT_BYTES = 4
HEADLINES = {  # what tables show, and the good end
    "accuracy": "high",
    "error_increase": "low",
    "ratio": "high",
    "macs_saved": "high",
    "speedup": "high",
}
LAYER_COLUMNS = ["step", "layer", "kind", "parameters", "nonzero", "bytes", "macs", "latency_ms"]


@dataclass
class Compress(Trainings):
    """One run of one method on one network; to the method it is the `Workbench`."""

    rows: list[dict[str, Any]] = field(default_factory=list)  # of points measured, as the reader gave them

    def __post_init__(self):
        super().__post_init__()
        self.method: Method = self.config.technique
        self.seconds |= {"finetune": 0.0, "measure": 0.0}

    def __call__(self) -> None:
        """Measure the dense network and whatever the method makes of it."""
        if (saved := self.run.saved()) is not None:
            self.load(saved)
        settings = self.config.settings
        with FreshProcess(self.stream.tasks[0].test, settings.latency_batch, self.config.dirs) as self.fresh:
            result = Point("dense", self.dense())
            self.phase = "finetune"
            self.measure(0, result)
            for step, point in enumerate(self.method.compress(result, self), start=1):
                self.measure(step, point)
                result = point
            self.finish(result)

    def measure(self, step: int, point: Point) -> None:
        """Write the point's file and let another process read and measure it."""
        if step < len(self.rows):
            return  # before the run was cut off
        began = time.perf_counter()
        model = None if point.blueprint is None else OmegaConf.to_container(point.blueprint.node, resolve=True)
        path = self.artefact(step)
        container.write(path, self.describe(point.net, model).packed(), point.entropy)
        row = {"stage": point.stage, **self.fresh.ask("point", path=str(path))}
        with apart(self.compute.device):  # building the network once more leaves no trace in what comes next
            for form in self.config.settings.export:
                export(form, path, self.input_shape, self.config.dirs)
        self.rows.append(row)
        self.seconds["measure"] += time.perf_counter() - began
        self.run.log(step, "eval", 1, "test", "accuracy", row["accuracy"])
        self.run.log(step, "eval", 1, "test", "bytes", row["bytes"])
        ratio = self.ratio(row)
        self.run.display.note(f"{point.stage}: accuracy {row['accuracy']:.4f}, {row['bytes']:,} bytes ({ratio:.1f}x)")
        self.run.save(self.state(None))

    def artefact(self, step: int) -> Path:
        """The file of a point."""
        return self.run.folder / "artefacts" / f"point_{step:02d}.mlb"

    def ratio(self, row: dict[str, Any]) -> float:
        """How many times smaller the file is than the dense network's parameters in single precision."""
        return FLOAT_BYTES * self.rows[0]["parameters"] / row["bytes"] if self.rows else 1.0

    def state(self, under_way: dict[str, Any] | None) -> dict[str, Any]:
        """See `Trainings`."""
        return {**super().state(under_way), "rows": self.rows}

    def load(self, saved: dict[str, Any]) -> None:
        """See `Trainings`."""
        super().load(saved)
        self.rows = saved["rows"]

    def finish(self, result: Point) -> None:
        """Latencies, tables, figures, summary."""
        began = time.perf_counter()
        paths = [str(self.artefact(step)) for step in range(len(self.rows))]
        self.run.display.note("measuring latencies")
        latencies = np.array(self.fresh.ask("latencies", paths=paths))  # [points, rounds]
        for row, times in zip(self.rows, latencies, strict=True):
            low, row["latency_ms"], high = np.percentile(times, [25, 50, 75])
            row["latency_iqr_ms"] = high - low
            row["ratio"], row["error"] = self.ratio(row), 1 - row["accuracy"]
        layers = [
            {"step": step, **layer}
            for step in sorted({0, len(paths) - 1})
            for layer in self.fresh.ask("layers", path=paths[step])
        ]
        self.seconds["measure"] += time.perf_counter() - began
        folder = self.run.folder
        for name, columns, rows in (("points", COLUMNS, numbered(self.rows)), ("layers", LAYER_COLUMNS, layers)):
            write_csv(folder / f"{name}.csv", columns, [[row[column] for column in columns] for row in rows])
        plots.draw_points(folder / "points.csv", folder / "figures")
        test = self.stream.tasks[0].test
        for name, rows in self.method.grids(test).items():
            grids.draw_grid(rows, folder / "figures" / f"{name}.png", upwards=self.stream.modality.upwards)
        correct = np.array([right_answers(row, len(test)) for row in self.rows])  # [points, N]
        metrics = self.metrics(latencies, correct)
        if self.dropped:
            metrics |= self.dropped_accuracies(np.isin(test.labels.cpu(), self.dropped), correct)
        model = None if result.blueprint is None else OmegaConf.to_container(result.blueprint.node, resolve=True)
        metrics |= self.method.metrics(numbered(self.rows), correct)
        costs = {f"{name}_seconds": value for name, value in self.seconds.items()}
        costs |= {"parameters": self.rows[-1]["parameters"], "samples_processed": self.samples}
        self.run.finish(self.describe(result.net, model), metrics, costs, HEADLINES)

    def metrics(self, latencies: np.ndarray, correct: np.ndarray) -> dict[str, float]:
        """The last point against the dense network; `error_increase` with its paired 95 % interval."""
        dense, last = self.rows[0], self.rows[-1]
        lost = spread((correct[0].astype(float) - correct[-1]).tolist())
        interval = {}
        if lost.half is not None:  # more than one test example
            interval = {"error_increase_low": lost.mean - lost.half, "error_increase_high": lost.mean + lost.half}
        return {
            "accuracy": last["accuracy"],
            "error": last["error"],
            "dense_error": dense["error"],
            "error_increase": dense["accuracy"] - last["accuracy"],
            **interval,
            "bytes": last["bytes"],
            "ratio": last["ratio"],
            "nonzero_share": last["nonzero"] / dense["parameters"],
            "macs_saved": dense["macs"] / max(last["macs"], 1.0),
            "speedup": float(np.median(latencies[0] / latencies[-1])),
        }

    def dropped_accuracies(self, dropped: np.ndarray, correct: np.ndarray) -> dict[str, float]:
        """The accuracy on test examples of dropped classes, [N] bool: of the last point, and of each by its stage."""
        shares = correct[:, dropped].mean(1).tolist()
        stages = [row["stage"].replace(" ", "_") for row in self.rows]
        for step, share in enumerate(shares):
            self.run.log(step, "eval", 1, "test", "dropped_accuracy", share)
        by_stage = {f"dropped_accuracy_{stage}": share for stage, share in zip(stages, shares, strict=True)}
        return {"dropped_accuracy": shares[-1], **by_stage}


def numbered(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with their step."""
    return [{"step": step, **row} for step, row in enumerate(rows)]


def right_answers(row: dict[str, Any], count: int) -> np.ndarray:
    """Which test examples were answered right, bool [count]."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(row["correct"]), np.uint8), count=count).astype(bool)


def prepare(config: CheckedConfig, stream: Stream, net: nn.Module) -> RunnerFactory:
    """What makes the runner. Raises UserError for a stream of tasks, a reference, and without validation data."""
    check_single_task(config, stream)
    if not config.training.validation:
        raise UserError(
            "train.validation=0: compression chooses by validation data; give a share of the training data, as .1"
        )
    for blueprint in config.technique.blueprints():
        made(blueprint, blueprint.path, stream)
    check_network(config, stream, net)
    try:
        config.technique.check(net)
    except SettingError as error:
        raise UserError(f"compress.{error}") from error
    for path in config.technique.networks():
        fitting(path, stream)
    return partial(Compress, config=config)


def check_network(config: CheckedConfig, stream: Stream, net: nn.Module) -> None:
    """Raise UserError for a network without weights to change, and for one for texts where that cannot be done."""
    name = config.names["compress"]
    if config.technique.changes_weights and not weights(net):
        told = "and this network has none of its own (int8 layers have whole numbers)"
        raise UserError(f"compress={name} changes the weights of linear and convolutional layers, {told}")
    if config.settings.export and not stream.modality.exportable:
        raise UserError("export is for pictures and sounds: a network for texts computes only what is there of each")
