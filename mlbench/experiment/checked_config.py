"""A composed config whose every part has been checked and built; nothing has been written yet."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from omegaconf import DictConfig, OmegaConf

from mlbench.core.buildable import own_modules
from mlbench.core.config_groups import CHOICES, FAMILIES, data_dir
from mlbench.core.errors import UserError, require
from mlbench.core.instantiate import build, settings
from mlbench.core.user_path import user_path
from mlbench.data.dataset import Data
from mlbench.experiment.model_choice import ModelChoice
from mlbench.experiment.technique import Technique
from mlbench.models.carried_encoders import encoder_path
from mlbench.runs.loggers.base import Logger
from mlbench.runs.run_dir import Keep
from mlbench.training.optimizer import Training

MOST_THREADS = 4096
UNUSED = {
    "reference": None,
    "reference_epochs": None,
    "export": [],
    "export_range": 255,
    "latency_batch": 1,
}  # what does nothing, where not every technique asks


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
    reference_epochs: int | None
    latency_batch: int
    export: list[str]
    export_range: int
    force: bool
    keep: Keep

    def __post_init__(self):
        require(self.seed >= 0, "seed", self.seed, "0 or more")
        ok = self.threads == "auto" or (str(self.threads).isdecimal() and 1 <= int(self.threads) <= MOST_THREADS)
        require(ok, "threads", self.threads, f"auto, or 1 to {MOST_THREADS}")
        allowed = (None, "joint", "cumulative")
        require(self.reference in allowed, "reference", self.reference, "null|joint|cumulative")
        enough = self.reference_epochs is None or (self.reference_epochs >= 1 and self.reference is not None)
        require(enough, "reference_epochs", self.reference_epochs, "1 or more, with a reference, or null")
        require(self.latency_batch >= 1, "latency_batch", self.latency_batch, "1 or more")
        require(set(self.export) <= {"onnx", "torch"}, "export", self.export, "a list of onnx and torch, or []")
        require(self.export_range in (1, 255), "export_range", self.export_range, "255 or 1")


class CheckedConfig:
    """What a command asks for.

    Args:
        config: The composed config.
        names: The choice made in each group of the config; None where there is none.
        dirs: The folders that the user passed by --config-dir.
        command: A name for the command, which all jobs of a sweep share.
        method: The class that the techniques of the chosen family descend from.

    Raises:
        UserError: For a setting that is missing, unknown, out of range, or that would change nothing.
    """

    def __init__(
        self,
        config: DictConfig,
        names: dict[str, str | None],
        dirs: tuple[Path, ...],
        command: str,
        method: type[Technique],
    ):
        self.composed, self.names, self.dirs = config, names, dirs
        self.family = chosen_family(config)  # None: plain training
        for group in ("data", "model", "train"):
            if config.get(group) is None:
                raise UserError(f"{group} is missing; {group}=NAME chooses it (see mlbench list {group})")
        for group in CHOICES:
            if config.get(group) is not None and not isinstance(names[group], str):
                raise UserError(f"{group}=: a single name is needed, as mlbench list {group} shows them")
            if ".." in Path(names[group] or "").parts:
                raise UserError(
                    f"{group}={names[group]} leads out of its group, and results would lie outside of out=\n"
                    f"mlbench list {group} shows the names; --config-dir adds your own"
                )
        top = OmegaConf.masked_copy(config, [key for key in config if key not in CHOICES])
        self.settings = settings(top, Settings, "")
        self.command = command if self.settings.force else None  # runs and networks of other commands are made anew
        self.training = settings(config.train, Training, "train")
        self.technique = build(config[self.family], method, self.family, dirs) if self.family else method()
        self.check_use()
        self.keeps_outputs = False  # whether the network keeps its own classes, which the data decides
        self.model = ModelChoice(config.model, str(names["model"]), dirs, self.settings.checkpoint)
        self.data = build(config.data, Data, "data", dirs)
        self.logger = None
        if config.get("logger") is not None:
            self.logger = build(config.logger, Logger, "logger", dirs)
            self.logger.check()

    @property
    def technique_name(self) -> str:
        """The technique as the command line names it, for messages."""
        return f"{self.family}={self.names[self.family]}" if self.family else "plain training"

    @property
    def is_complete(self) -> bool:
        """Whether the network is trained for these classes, so that it is not trained again."""
        return self.keeps_outputs or (self.settings.checkpoint is not None and not self.model.reads_checkpoint)

    @property
    def out(self) -> Path:
        """Where results go."""
        return user_path(self.settings.out)

    @property
    def data_dir(self) -> Path:
        """Where data lie that have no path of their own."""
        return user_path(self.settings.data_dir) if self.settings.data_dir else data_dir()

    @property
    def parts(self) -> list[str]:
        """The names of technique, data and model."""
        return [self.names[group] for group in (self.family, "data", "model") if group]

    def check_use(self) -> None:
        """Raise UserError for settings that would change nothing."""
        for setting, unused in UNUSED.items():
            if getattr(self.settings, setting) != unused and setting not in self.technique.takes:
                raise UserError(f"{setting} means nothing to {self.technique_name}; leave it out")
        if self.technique.needs_epochs and not self.training.epochs:
            raise UserError(f"train.epochs=0: allowed is 1 or more; {self.technique_name} is about learning")
        if self.family and self.training.validation and not self.training.patience and not self.technique.chooses:
            raise UserError(
                f"train.validation={self.training.validation} without train.patience: nothing goes by it\n"
                "train.patience=N keeps the best epoch, and stops N epochs after it; otherwise take train.validation=0"
            )

    def resolved(self, without: Sequence[str] = ()) -> dict[str, Any]:
        """The config as plain values, some of its top-level entries left out."""
        values = OmegaConf.to_container(self.composed, resolve=True)
        return {name: value for name, value in values.items() if name not in without}

    def inputs(self) -> list[Path]:
        """The files and folders that the run reads: a change of one may change its results."""
        paths = [
            *self.data.files(self.data_dir),
            *(path for folder in self.dirs for path in own_modules(folder)),
            *self.pretrained_files(),
        ]
        if self.settings.checkpoint and not self.model.reads_checkpoint:
            paths.append(Path(self.settings.checkpoint))
        paths += self.technique.files()
        return [user_path(path) for path in paths]

    def pretrained_files(self) -> list[Path]:
        """The folders or files of a network and a tokenizer that others have trained; names on a hub are none."""
        names = (self.composed.model.get("pretrained"), self.composed.data.get("tokenizer"))
        paths = [encoder_path(name) for name in dict.fromkeys(names) if isinstance(name, str)]
        if self.model.place is not None:
            paths.append(self.model.place)
        return [path for path in paths if path.exists()]

    def identity(self) -> dict[str, object]:
        """What the summary says of which run it is."""
        return {
            "family": self.family or "plain",
            "technique": self.names[self.family] if self.family else None,
            "data": self.names["data"],
            "model": self.names["model"],
            "seed": self.settings.seed,
        }


def chosen_family(config: DictConfig) -> str | None:
    """The family whose technique is set; None for plain training. Raises UserError for two of them."""
    chosen = [family for family in FAMILIES if config.get(family) is not None]
    if len(chosen) > 1:
        raise UserError(f"{' and '.join(chosen)} are both set; a run takes one technique of one family")
    return chosen[0] if chosen else None
