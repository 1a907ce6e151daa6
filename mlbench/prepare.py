"""A composed config becomes a run: everything is checked and built before anything is written."""

import hashlib
import importlib
import json
import secrets
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from mlbench import store
from mlbench.build import Blueprint, build, own_modules, settings
from mlbench.catalogue import CHOICES, FAMILIES, RUNNING, data_dir
from mlbench.checkpoint import Trained, normaliser, read_network
from mlbench.data.source import Data
from mlbench.data.tasks import Stream
from mlbench.display import Display
from mlbench.errors import Interrupted, RunError, SettingError, UserError, require
from mlbench.files import create_folder
from mlbench.hardware import choose_device, choose_threads, limit_met, make_deterministic
from mlbench.job import Describe
from mlbench.lock import locked
from mlbench.loggers.base import Logger
from mlbench.network import example, made, with_weights
from mlbench.optimizer import Training
from mlbench.randomness import Draws
from mlbench.results import Keep, Run, finished
from mlbench.technique import Technique
from mlbench.tracking import Tracker
from mlbench.train import Compute, check_trainable

MOST_THREADS = 4096
UNUSED = {"reference": None, "export": [], "latency_batch": 1}  # what does nothing, where not every technique asks


@dataclass
class Settings:
    """The top level of config.yaml."""

    seed: int
    device: str
    threads: int | str
    precision: Literal["fp32", "bf16"]
    deterministic: bool
    out: str
    data_dir: str
    checkpoint: str | None
    resume: str | None
    reference: str | None
    latency_batch: int
    export: list[str]
    force: bool
    keep: Keep

    def __post_init__(self):
        require(self.seed >= 0, "seed", self.seed, "0 or more")
        ok = self.threads == "auto" or (str(self.threads).isdecimal() and 1 <= int(self.threads) <= MOST_THREADS)
        require(ok, "threads", self.threads, f"auto, or 1 to {MOST_THREADS}")
        require(self.reference in (None, "joint"), "reference", self.reference, "null|joint")
        require(self.latency_batch >= 1, "latency_batch", self.latency_batch, "1 or more")
        require(set(self.export) <= {"onnx", "torch"}, "export", self.export, "a list of onnx and torch, or []")


class Prepared:
    """A config whose every part has been checked and built; nothing has been written yet."""

    def __init__(self, config: DictConfig, names: dict[str, str | None], dirs: tuple[Path, ...], began: float):
        self.config, self.names = config, names
        for group in ("data", "model", "train"):
            if config.get(group) is None:
                raise UserError(f"{group} is missing; {group}=NAME chooses it (see mlbench list {group})")
        for group in CHOICES:
            if config.get(group) is not None and not isinstance(names[group], str):
                raise UserError(f"{group}=: a single name is needed, as mlbench list {group} shows them")
        top = OmegaConf.masked_copy(config, [key for key in config if key not in CHOICES])
        self.settings = settings(top, Settings, "")
        self.since = began if self.settings.force else 0.0  # older runs and stored networks are made anew
        chosen = [family for family in FAMILIES if config.get(family) is not None]
        if len(chosen) > 1:
            raise UserError(f"{' and '.join(chosen)} are both set; a run takes one technique of one family")
        self.family = chosen[0] if chosen else None
        self.training = settings(config.train, Training, "train")
        self.technique = Technique()
        if self.family:
            base = importlib.import_module(f"mlbench.{self.family}.base")
            self.technique = build(config[self.family], base.Method, self.family, dirs)
        self.check_use()
        self.data = build(config.data, Data, "data", dirs)
        self.logger = None
        if config.get("logger") is not None:
            self.logger = build(config.logger, Logger, "logger", dirs)
            self.logger.check()
        self.dirs = dirs

    def check_use(self) -> None:
        """Raise UserError for settings that would change nothing."""
        name = f"{self.family}={self.names[self.family]}" if self.family else "plain training"
        for setting, unused in UNUSED.items():
            if getattr(self.settings, setting) != unused and setting not in self.technique.takes:
                raise UserError(f"{setting} means nothing to {name}; leave it out")
        if self.training.validation and not self.training.patience and not self.technique.chooses:
            raise UserError(
                f"train.validation={self.training.validation} without train.patience: nothing goes by it\n"
                "train.patience=N keeps the best epoch, and stops N epochs after it; otherwise take train.validation=0"
            )

    def folder(self, by_hash: bool) -> Path:
        """Where the run writes: by a hash of its settings in a sweep, a name nobody else has otherwise."""
        kind = "-".join(self.names[group] for group in (self.family, "data", "model") if group)
        if by_hash:
            resolved = OmegaConf.to_container(self.config, resolve=True)
            hashed = {name: value for name, value in resolved.items() if name not in RUNNING}
            name = hashlib.sha256(json.dumps(hashed, sort_keys=True).encode()).hexdigest()[:16]
        else:
            name = f"{datetime.now():%Y-%m-%d_%H-%M-%S-%f}"[:-3] + f"-{secrets.token_hex(2)}"
        return Path(self.settings.out).expanduser() / (self.family or "plain") / kind / name

    def begun(self, folder: Path) -> bool:
        """Whether this run is there to be gone on with."""
        return store.usable(folder / "config.yaml", self.since)

    @property
    def data_dir(self) -> Path:
        """Where data lie that have no path of their own."""
        return Path(self.settings.data_dir).expanduser() if self.settings.data_dir else data_dir()

    def inputs(self) -> list[Path]:
        """The files and folders that the run reads: a change of one may change its results."""
        found = [
            *self.data.files(self.data_dir),
            *(path for folder in self.dirs for path in own_modules(folder)),
            *self.made_elsewhere(),
        ]
        if self.settings.checkpoint:
            found.append(Path(self.settings.checkpoint))
        found += self.technique.files()
        return [path.expanduser() for path in found]

    def made_elsewhere(self) -> list[Path]:
        """The folders or files of a network and a tokeniser that others have trained; names on a hub are none."""
        named = (self.config.model.get("pretrained"), self.config.data.get("tokenizer"))
        paths = [Path(name) for name in dict.fromkeys(named) if isinstance(name, str)]
        return [path for path in paths if path.exists()]

    def tracker(self) -> Tracker:
        """What passes the run's results on to the `logger`, if there is one."""
        parts = [self.names[group] for group in (self.family, "data", "model") if group]
        parameters = OmegaConf.to_container(self.config, resolve=True)
        parameters.pop("logger", None)
        return Tracker(self.logger, f"{'-'.join(parts)} seed {self.settings.seed}", parameters)

    def run(self, folder: Path, hydra_files: dict[str, str], wait: bool) -> None:
        """Build data, network and runner, then the folder, then train. Raises UserError before the folder is made.

        When another process works on the folder, waits for it, or raises UserError. If that one brings the run to its
        end, there is nothing left to do.
        """
        try:
            self.checked_run(folder, hydra_files, wait)
        except (MemoryError, RuntimeError) as error:
            if told := limit_met(error, self.settings.device):
                raise RunError(told) from error
            raise

    def checked_run(self, folder: Path, hydra_files: dict[str, str], wait: bool) -> None:
        """The same, with what torch raises left as it is."""
        chosen = self.settings
        device = choose_device(chosen.device)
        compute = Compute(device, chosen.precision)
        make_deterministic(chosen.deterministic)
        draws = Draws(chosen.seed, device)
        stream = self.stream(draws)
        net = self.network(stream)
        module = importlib.import_module(f"mlbench.{self.family}.runner" if self.family else "mlbench.plain")
        runner = module.prepare(self, stream, net)
        for task in stream.tasks:
            check_trainable(net, task, self.technique.learned_from(task), self.training)
        torch.set_num_threads(choose_threads(chosen.threads, net, example(stream, 1), self.training.batch_size))
        if not self.begun(folder):
            old = folder.exists()
            with locked(folder / ".lock", wait) if old else nullcontext():
                if not self.begun(folder):  # nor by whoever held it
                    self.create(folder, hydra_files, replace=old and chosen.force)
        net.to(device, memory_format=torch.channels_last)
        with locked(folder / ".lock", wait):
            if finished(folder):
                return
            try:
                about = (self.identity(), chosen.keep, device, Display(), self.tracker(), self.inputs())
                with Run(folder, *about) as run:
                    runner(stream.to(device), net, self.training, compute, run, draws, self.describe(stream))()
            except KeyboardInterrupt:
                raise Interrupted(folder, self.dirs) from None
            except RunError as error:
                raise RunError(f"{error}\nwhat was measured is in {folder}") from error

    def stream(self, draws: Draws) -> Stream:
        """The data as tasks. Raises UserError for bad files, and for data that the rest does not go with."""
        try:
            stream = self.data.stream(self.data_dir, draws.stream)
        except SettingError as error:
            raise UserError(f"data.{error}") from error
        if stream.feedback is not None and self.training.validation:
            raise UserError(
                "train.validation takes a share of labels that may be none on a feedback stream; set it to 0"
            )
        if stream.outputs < 2 and self.technique.about_answers:
            told = f"data={self.names['data']} has the one class {stream.classes[0]}; there is nothing to tell apart"
            raise UserError(f"{told}\nexplain=probe and explain=embed need no classes")
        return stream

    def network(self, stream: Stream) -> nn.Module:
        """The model, its weights from `checkpoint` if one is given, and `stream` then normalised as it was for these.

        Raises UserError when it does not fit.
        """
        name = self.names["model"]
        net = made(Blueprint(self.config.model, "model", self.dirs), f"model={name}", stream)
        if not self.settings.checkpoint:
            return net
        packed, text = read_network(Path(self.settings.checkpoint)), stream.tasks[0].text
        spelling = None if text is None else text.spelling
        net = with_weights(net, packed, f"checkpoint={self.settings.checkpoint}", name, self.dirs, spelling)
        stream.seen_through(normaliser(packed))
        return net

    def identity(self) -> dict[str, object]:
        """What the summary says of which run it is."""
        return {
            "family": self.family or "plain",
            "technique": self.names[self.family] if self.family else None,
            "data": self.names["data"],
            "model": self.names["model"],
            "seed": self.settings.seed,
        }

    def describe(self, stream: Stream) -> Describe:
        """A function that packs a network with what `mlbench.load` needs."""
        model = OmegaConf.to_container(self.config.model, resolve=True)
        normalise, text = stream.tasks[0].train.normalise, stream.tasks[0].text
        spelling = None if text is None else text.spelling
        about = (stream.input_shape, stream.outputs, stream.classes, stream.scenario, normalise, spelling)
        return lambda net, other=None: Trained(net, other or model, *about)

    def create(self, folder: Path, hydra_files: dict[str, str], replace: bool) -> None:
        """Make the run's folder with its config inside; with `replace` in the place of an older one."""
        files = {
            "config.yaml": OmegaConf.to_yaml(self.config, resolve=True),
            ".hydra/names.yaml": OmegaConf.to_yaml(OmegaConf.create(self.names)),
            **hydra_files,
        }
        create_folder(folder, files, replace)
