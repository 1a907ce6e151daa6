"""Runs that train more than one network: the dense one, kept in the store, and whatever a technique trains after it."""

import copy
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from mlbench.core.errors import UserError
from mlbench.core.instantiate import Blueprint, own_modules
from mlbench.core.renamed import published
from mlbench.core.rng import apart
from mlbench.data.split import Split, validation_size
from mlbench.data.stream import Stream
from mlbench.experiment.checked_config import CheckedConfig
from mlbench.experiment.model_setup import fitting
from mlbench.experiment.runner import Job
from mlbench.runs import cache
from mlbench.runs.checkpoint import read_network, read_tensors, restored, write_tensors
from mlbench.training.evaluation import accuracy
from mlbench.training.fit_state import Progress
from mlbench.training.learner import Learner
from mlbench.training.loop import examples_in_epoch, fit
from mlbench.training.masked_lm import MaskedLanguage


@dataclass
class Trainings(Job):
    """What the runners of such families share. A run that was cut off reads its finished trainings back."""

    config: CheckedConfig
    seconds: dict[str, float] = field(default_factory=lambda: {"train": 0.0})  # by `phase`
    phase: str = "train"
    samples: int = 0
    fits: int = 0  # begun in this process, those read back included

    def __post_init__(self):
        task, share = self.stream.tasks[0], self.training.validation
        if task.validation is not None and not share:
            self.train, self.validation = task.train, task.validation
        else:
            self.train, self.validation = task.train.cut(share, self.draws.generator("validation"))
        self.whole, self.dropped = self.train, []
        if task.dropped is not None:
            learnt, held_out = task.dropped.cut(share, self.draws.generator("validation"))
            self.whole = Split.union([self.train, learnt])
            self.validation = Split.union([self.validation, held_out])
            self.dropped = task.dropped.labels.unique().tolist()
        self.generator, self.classes = self.draws.method, self.stream.classes
        self.input_shape, self.outputs = self.stream.input_shape, self.stream.outputs
        self.normalise = task.train.normalise
        self.start = self.untrained().eval()
        self.resumed: dict[str, Any] | None = None  # a fit that was cut off

    def untrained(self) -> nn.Module:
        """The network before any training, drawn again by the seed where a checkpoint has trained it already.

        One whose structure a technique has changed has its layers drawn anew.
        """
        start = copy.deepcopy(self.net)
        if self.config.settings.checkpoint:
            with apart(self.compute.device, self.draws.derived("network")):
                fresh = self.build(None)
                if shapes(fresh) == shapes(start):
                    start.load_state_dict(fresh.state_dict())
                else:
                    for layer in start.modules():
                        if hasattr(layer, "reset_parameters"):
                            layer.reset_parameters()
        return start

    def dense(self) -> nn.Module:
        """The trained network to start from: the one given, the one in the store, or trained now and stored."""
        if self.config.settings.checkpoint:
            return self.net.eval()
        self.pretrained()
        make = lambda: self.fit(self.net, "dense", train=self.whole)  # noqa: E731
        self.kept(self.place(*MADE_BY, "train"), "dense", make)
        return self.net.eval()

    def pretrained(self) -> nn.Module:
        """The network after what it learns from texts without labels, as it is where it has no `pretraining`."""
        task, settings = self.stream.tasks[0], getattr(self.net, "pretraining", None)
        if task.unlabelled is not None and settings is not None and not self.config.settings.checkpoint:
            learner, packed = MaskedLanguage(task.modality), task.unlabelled
            settings = {**settings, "patience": 0}  # held-out sentences are of the task, which this is not about
            make = lambda: self.fit(self.net, "pretraining", learner, packed, **settings)  # noqa: E731
            self.kept(self.place(*MADE_BY, stage="pretraining"), "pretraining", make)
        return self.net.eval()

    def kept(self, path: Path, title: str, make: Callable[[], object]) -> None:
        """The weights of `path`, or those that `make` trains and leaves there; the same random numbers follow."""
        if not cache.usable(path, self.config.since):
            self.run.display.note(f"the network is trained once and kept as {path} ({title})")
        with cache.held(path):
            if cache.usable(path, self.config.since):
                self.fits += 1
                restored(self.net, read_network(path))
            else:
                make()
                self.describe(self.net).save(path)
        torch.manual_seed(self.draws.derived(f"after the {title} network"))

    def place(self, *names: str, **besides: Any) -> Path:
        """The file in the store for what these parts of the config make, on this kind of device."""
        resolved = self.config.resolved()
        made_by = {name: resolved[name] for name in names} | {"device": self.compute.device.type, **besides}
        made_by["examples"] = self.examples
        if "model" in names:
            made_by["source"] = source_of(resolved["model"]["_target_"], self.config.dirs)
        if self.hashes_elsewhere:
            made_by["made_elsewhere"] = self.hashes_elsewhere
        return cache.place(self.config.out / "store", published(made_by))

    @cached_property
    def examples(self) -> list[str]:
        """Hashes of what there is to learn from."""
        task = self.stream.tasks[0]
        return [split.digest() for split in (task.train, task.dropped) if split is not None]

    @cached_property
    def hashes_elsewhere(self) -> list[list[list[str]]]:
        """Names and hashes of the files of what others have trained."""
        return [cache.contents(path, sorted(path.rglob("*")) or [path]) for path in self.config.pretrained_files()]

    def stored(self, title: str, made_by: dict[str, Any], make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """See `Workbench`."""
        path = self.place("data", "seed", "deterministic", kind=title, validation=self.training.validation, **made_by)
        with cache.held(path):
            if not cache.usable(path, self.config.since):
                self.run.display.note(f"the {title} is trained once and kept as {path}")
                write_tensors(path, make())
            return read_tensors(path)

    def fit(
        self, net: nn.Module, title: str, learner: Learner | None = None, train: Split | None = None, **changes: Any
    ) -> nn.Module:
        """See `Workbench`. Each fit has its own random numbers, so that one read back leaves no trace in the next."""
        number, self.fits = self.fits, self.fits + 1
        kept = self.run.folder / "checkpoints" / "fits" / f"{number:03d}.pt"
        cut_off = self.resumed if self.resumed is not None and self.resumed["number"] == number else None
        progress = Progress() if cut_off is None else Progress.from_state(cut_off["progress"])
        if kept.exists():
            net.load_state_dict(read_tensors(kept)["weights"])
            if cut_off is not None:  # it came to its end, and its costs were not saved
                self.pay(progress)
        else:
            self.draws.batches = self.draws.generator(f"fit {number}")
            torch.manual_seed(self.draws.derived(f"fit {number}"))
            if cut_off is not None:
                net.load_state_dict(cut_off["weights"])
                self.draws.load_state(cut_off["draws"])
            self.train_one(net, number, title, learner or Learner(), train or self.train, changes, progress)
            write_tensors(kept, {"weights": dict(net.state_dict())})
            self.pay(progress)
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
        training = replace(self.training, **changes)
        held_out = self.validation if training.patience else None
        total = examples_in_epoch(net, len(train), training.batch_size) * training.epochs
        self.run.display.start(title, total, progress)

        def state() -> dict[str, Any]:
            packed = {"number": number, "weights": dict(net.state_dict()), "progress": progress.state()}
            return self.state({**packed, "draws": self.draws.state()})

        own = (lambda: self.describe(net)) if net is self.net else None  # others are not what config.yaml describes
        watch = self.run.follow(number + 1, progress, state, own, f"fit_{number:03d}_")
        fit(net, train, learner, training, self.compute, self.draws.batches, progress, watch, held_out)
        self.run.save(state())  # with all that it logged, before its weights tell a resumed run that it is over

    def pay(self, progress: Progress) -> None:
        """Add what a finished fit cost."""
        self.seconds[self.phase] = self.seconds.get(self.phase, 0.0) + progress.seconds
        self.samples += progress.samples
        self.resumed = None

    def accuracy(self, net: nn.Module, split: Split | None = None) -> float:
        """See `Workbench`."""
        return accuracy(net, split or self.validation, Learner().logits)

    def build(self, blueprint: Blueprint | None) -> nn.Module:
        """See `Workbench`."""
        blueprint = blueprint or Blueprint(self.config.composed.model, "model", self.config.dirs)
        net = blueprint.build(nn.Module, input_shape=self.input_shape, outputs=self.outputs)
        return net.to(self.compute.device)

    def read(self, path: str) -> nn.Module:
        """See `Workbench`."""
        packed = fitting(Path(path), self.stream)
        given = {"input_shape": self.input_shape, "outputs": self.outputs}
        built = Blueprint(OmegaConf.create(packed["model"]), "model", self.config.dirs).build(nn.Module, **given)
        return restored(built, packed, self.config.dirs).to(self.compute.device).eval()

    def picture(self, x: Tensor) -> np.ndarray:
        """See `Workbench`."""
        raw = x.detach() * self.normalise.std + self.normalise.mean
        return self.stream.modality.images(raw).cpu().numpy()

    def state(self, under_way: dict[str, Any] | None) -> dict[str, Any]:
        """Everything a resumed run needs beside the finished fits: `under_way` is one that is not."""
        return {"network": {}, "seconds": self.seconds, "samples": self.samples, "fit": under_way}

    def load(self, saved: dict[str, Any]) -> None:
        """The inverse of `state`."""
        self.seconds, self.samples, self.resumed = saved["seconds"], saved["samples"], saved["fit"]


MADE_BY = ("data", "model", "seed", "precision", "deterministic")  # parts of the config that make a network


def source_of(target: str, dirs: tuple[Path, ...]) -> list[list[list[str]]] | str:
    """Names and hashes of the user's own modules, any of which a class of their own may import; empty for others."""
    path = Path(sys.modules[target.rpartition(".")[0]].__file__).resolve()
    if not any(path.is_relative_to(folder.resolve()) for folder in dirs):
        return ""
    return [cache.contents(folder, own_modules(folder)) for folder in dirs]


def shapes(net: nn.Module) -> dict[str, torch.Size]:
    """Of each of its tensors."""
    return {name: tensor.shape for name, tensor in net.state_dict().items()}


def check_single_task(config: CheckedConfig, stream: Stream) -> None:
    """Raise UserError for a stream of tasks, and for dropped classes too small to be cut."""
    if stream.scenario is not None:
        raise UserError(
            f"{config.technique_name} takes a network for one task, and this data is a stream of tasks\n"
            "take a plain dataset, as in data=mnist (see `mlbench list data`)"
        )
    if (dropped := stream.tasks[0].dropped) is not None:
        validation_size(config.training.validation, len(dropped))
