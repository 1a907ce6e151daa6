"""The runner of the compression family: it trains or reads the dense network, and measures every point alike."""

import copy
import shutil
import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from omegaconf import OmegaConf
from torch import nn

from mlbench import artefact, plots, store
from mlbench.build import Blueprint
from mlbench.checkpoint import read_network, read_tensors, restored, write_tensors
from mlbench.compress.base import Method, Point
from mlbench.compress.export import export
from mlbench.compress.measuring import FreshProcess
from mlbench.data.tasks import Split, Stream
from mlbench.errors import SettingError, UserError
from mlbench.evaluate import accuracy
from mlbench.files import write_csv
from mlbench.job import Job, Runner
from mlbench.progress import Progress
from mlbench.spread import spread
from mlbench.train import Learner, examples_in_epoch, fit

if TYPE_CHECKING:
    from mlbench.prepare import Prepared

COLUMNS = ["step", "stage", "accuracy", "error", "parameters", "nonzero", "bytes", "ratio", "macs"]
COLUMNS += ["latency_ms", "latency_iqr_ms"]
FLOAT_BYTES = 4
LAYER_COLUMNS = ["step", "layer", "kind", "parameters", "nonzero", "bytes", "macs", "latency_ms"]


@dataclass
class Compress(Job):
    """One run of one method on one network; to the method it is the `Workbench`."""

    prepared: "Prepared"
    rows: list[dict[str, Any]] = field(default_factory=list)  # of points measured, as the reader gave them
    seconds: dict[str, float] = field(default_factory=lambda: {"train": 0.0, "finetune": 0.0, "measure": 0.0})
    samples: int = 0
    fits: int = 0  # begun in this process, those read back included

    def __post_init__(self):
        self.method: Method = self.prepared.technique
        task, share = self.stream.tasks[0], self.training.validation
        self.train, self.validation = task.train.cut(share, self.draws.generator("validation"))
        self.whole, self.dropped = self.train, []
        if task.dropped is not None:
            learnt, held_out = task.dropped.cut(share, self.draws.generator("validation"))
            self.whole = Split.union([self.train, learnt])
            self.validation = Split.union([self.validation, held_out])
            self.dropped = task.dropped.labels.unique().tolist()
        self.generator, self.input_shape, self.outputs = self.draws.method, self.stream.input_shape, self.stream.outputs
        self.start = copy.deepcopy(self.net).eval()
        self.resumed: dict[str, Any] | None = None  # a fit that was cut off

    def __call__(self) -> None:
        """Measure the dense network and whatever the method makes of it."""
        if (saved := self.run.saved()) is not None:
            self.rows, self.seconds, self.samples = saved["rows"], saved["seconds"], saved["samples"]
            self.resumed = saved["fit"]
        settings = self.prepared.settings
        with FreshProcess(self.stream.tasks[0].test, settings.latency_batch, self.prepared.dirs) as self.fresh:
            result = Point("dense", self.dense())
            self.measure(0, result)
            for step, point in enumerate(self.method.compress(result, self), start=1):
                self.measure(step, point)
                result = point
            self.finish(result)

    def dense(self) -> nn.Module:
        """The network to be compressed: the one given, the one in the store, or trained now and stored."""
        if self.prepared.settings.checkpoint:
            return self.net.eval()
        resolved = OmegaConf.to_container(self.prepared.config, resolve=True)
        names = ("data", "model", "train", "seed", "precision", "deterministic")
        made_by = {name: resolved[name] for name in names} | {"device": self.compute.device.type}
        path = store.place(Path(self.prepared.settings.out).expanduser() / "store", made_by)
        if not path.exists():
            self.run.display.note(f"the dense network is trained once and kept as {path}")
        with store.held(path):
            if path.exists():
                self.fits += 1
                restored(self.net, read_network(path))
            else:
                self.fit(self.net, "dense", train=self.whole)
                self.describe(self.net).save(path)
        torch.manual_seed(self.draws.derived("after the dense network"))
        return self.net.eval()

    def fit(
        self, net: nn.Module, title: str, learner: Learner | None = None, train: Split | None = None, **changes: Any
    ) -> nn.Module:
        """See `Workbench`. Each fit has its own random numbers, so that one read back leaves no trace in the next."""
        number, self.fits = self.fits, self.fits + 1
        kept = self.run.folder / "checkpoints" / "fits" / f"{number:03d}.pt"
        if kept.exists():
            net.load_state_dict(read_tensors(kept)["weights"])
        else:
            self.draws.batches = self.draws.generator(f"fit {number}")
            torch.manual_seed(self.draws.derived(f"fit {number}"))
            progress = Progress()
            if self.resumed is not None and self.resumed["number"] == number:
                net.load_state_dict(self.resumed["weights"])
                progress = Progress.from_state(self.resumed["progress"])
                self.draws.load_state(self.resumed["draws"])
            self.train_one(net, number, title, learner or Learner(), train or self.train, changes, progress)
            write_tensors(kept, {"weights": dict(net.state_dict())})
            self.resumed = None
            self.run.save(self.state(None))
        torch.manual_seed(self.draws.derived(f"after fit {number}"))
        return net.eval()

    def train_one(
        self,
        net: nn.Module,
        number: int,
        title: str,
        learner: Learner,
        train: Split,
        changes: dict[str, Any],
        progress: Progress,
    ) -> None:
        """A fit that is not finished yet: through the one loop, shown, and saved now and then."""
        training = replace(self.training, validation=0.0, patience=0, **changes)
        held_out = self.validation if self.training.patience else None
        if self.training.patience:
            training = replace(self.training, **changes)
        total = examples_in_epoch(net, len(train), training.batch_size) * training.epochs
        self.run.display.start(title, total, progress)

        def state() -> dict[str, Any]:
            packed = {"number": number, "weights": dict(net.state_dict()), "progress": progress.state()}
            return self.state({**packed, "draws": self.draws.state()})

        watch = self.run.follow(number + 1, progress, state, lambda: self.describe(net), f"fit_{number:03d}_")
        fit(net, train, learner, training, self.compute, self.draws.batches, progress, watch, held_out)
        self.seconds["finetune" if self.rows else "train"] += progress.seconds
        self.samples += progress.samples

    def accuracy(self, net: nn.Module, split: Split | None = None) -> float:
        """See `Workbench`."""
        return accuracy(net, split or self.validation, Learner().logits)

    def build(self, blueprint: Blueprint | None) -> nn.Module:
        """See `Workbench`."""
        blueprint = blueprint or Blueprint(self.prepared.config.model, "model", self.prepared.dirs)
        net = blueprint.build(nn.Module, input_shape=self.input_shape, outputs=self.outputs)
        return net.to(self.compute.device)

    def read(self, path: str) -> nn.Module:
        """See `Workbench`."""
        packed = read_network(Path(path))
        if tuple(packed["input_shape"]) != self.input_shape or packed["outputs"] != self.outputs:
            raise UserError(f"{path} is for pictures or classes of another kind")
        given = {"input_shape": self.input_shape, "outputs": self.outputs}
        built = Blueprint(OmegaConf.create(packed["model"]), "model", self.prepared.dirs).build(nn.Module, **given)
        return restored(built, packed, self.prepared.dirs).to(self.compute.device).eval()

    def measure(self, step: int, point: Point) -> None:
        """Write the point's file and let another process read and measure it."""
        if step < len(self.rows):
            return  # before the run was cut off
        began = time.perf_counter()
        model = None if point.blueprint is None else OmegaConf.to_container(point.blueprint.node, resolve=True)
        path = self.artefact(step)
        artefact.write(path, self.describe(point.net, model).packed(), point.entropy)
        row = {"stage": point.stage, **self.fresh.ask("point", path=str(path))}
        for form in self.prepared.settings.export:
            export(form, path, self.input_shape)
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
        """Everything a resumed run needs beside the finished fits: `under_way` is one that is not."""
        about = {"rows": self.rows, "seconds": self.seconds, "samples": self.samples}
        return {"network": {}, **about, "fit": under_way}

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
        for name, groups in self.method.pictures(test).items():
            shown = {title: test.raw(places.to(test.labels.device)).cpu().numpy() for title, places in groups.items()}
            plots.draw_pictures(shown, folder / "figures" / f"{name}.png")
        correct = np.array([right_answers(row, len(test)) for row in self.rows])  # [points, N]
        metrics = self.metrics(latencies, correct)
        if self.dropped:
            metrics |= self.dropped_accuracies(np.isin(test.labels.cpu(), self.dropped), correct)
        model = None if result.blueprint is None else OmegaConf.to_container(result.blueprint.node, resolve=True)
        metrics |= self.method.metrics(numbered(self.rows), correct)
        costs = {f"{name}_seconds": value for name, value in self.seconds.items()}
        costs |= {"parameters": self.rows[-1]["parameters"], "samples_processed": self.samples}
        self.run.finish(self.describe(result.net, model), metrics, costs)
        shutil.rmtree(folder / "checkpoints" / "fits", ignore_errors=True)

    def metrics(self, latencies: np.ndarray, correct: np.ndarray) -> dict[str, float]:
        """The last point against the dense network; `error_increase` with its paired 95 % interval."""
        dense, last = self.rows[0], self.rows[-1]
        lost = spread((correct[0].astype(float) - correct[-1]).tolist())
        return {
            "accuracy": last["accuracy"],
            "error": last["error"],
            "dense_error": dense["error"],
            "error_increase": dense["accuracy"] - last["accuracy"],
            "error_increase_low": lost.mean - lost.half,
            "error_increase_high": lost.mean + lost.half,
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


def prepare(prepared: "Prepared", stream: Stream, net: nn.Module) -> Runner:
    """What makes the runner. Raises UserError for a stream of tasks, a reference, and without validation data."""
    name = prepared.names["compress"]
    if stream.scenario is not None:
        raise UserError(
            f"compress={name} compresses a network for one task, and this data is a stream of tasks\n"
            "take a plain dataset, as in data=mnist (see `mlbench list data`)"
        )
    if prepared.settings.reference is not None:
        raise UserError("reference is what a lifelong method is compared with; leave it out")
    if not prepared.training.validation:
        raise UserError(
            "train.validation=0: compression chooses by validation data; give a share of the training data, as .1"
        )
    try:
        prepared.technique.check(net)
    except SettingError as error:
        raise UserError(f"compress.{error}") from error
    return partial(Compress, prepared=prepared)
