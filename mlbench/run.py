"""The entry point of a run: compose, check, build, run, write. Only this file and cli.py know Hydra."""

import hashlib
import importlib
import json
import os
import secrets
import sys
import traceback
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

from mlbench.build import build, settings
from mlbench.errors import Interrupted, RunError, SettingError, UserError, require
from mlbench.report import show_run
from mlbench.sweep import conclude, record

if TYPE_CHECKING:
    from mlbench.data.tasks import Stream

FAMILIES = ("lifelong", "compress", "explain")
GROUPS = ("data", "model", "train", *FAMILIES)
UNHASHED = ("out", "force", "device", "threads", "resume")  # they change where and how fast, not what comes out
SWEEP = "MLBENCH_SWEEP"  # environment variable: where the sweep under way keeps its list of jobs
RESUME_MAY_CHANGE = ("resume", "device", "threads")


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
    force: bool
    keep: Literal["last", "tasks", "all"]

    def __post_init__(self):
        require(self.seed >= 0, "seed", self.seed, "0 or more")
        ok = self.threads == "auto" or (str(self.threads).isdigit() and int(self.threads) >= 1)
        require(ok, "threads", self.threads, "auto, or 1 or more")


def conf_folder() -> Path:
    """The folder with config.yaml: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    return next(place for place in (package / "conf", package.parent / "conf") if (place / "config.yaml").is_file())


def main() -> None:
    """Compose the config from the command line and run it, or sweep over it. Raises what goes wrong."""
    failures: list[Exception] = []  # of a single run; raised here, since Hydra prints what passes through it

    def job(config: DictConfig) -> None:
        context = HydraConfig.get()
        if context.mode == RunMode.MULTIRUN:
            sweep_job(config, context)
            return
        try:
            run(config, context)
        except Exception as error:
            failures.append(error)

    try:
        hydra.main(config_path=str(conf_folder()), config_name="config", version_base="1.3")(job)()
    finally:
        sweep = os.environ.pop(SWEEP, None)
        if sweep is not None:
            conclude(Path(sweep))
    for failure in failures:
        raise failure


class Sweep(Callback):
    """Tells `main` where a sweep keeps its list of jobs (named in config.yaml)."""

    def on_multirun_start(self, config: DictConfig, **_: object) -> None:
        """Called by Hydra, once, before the first job."""
        os.environ[SWEEP] = str(Path(config.hydra.sweep.dir).expanduser().resolve())


def sweep_job(config: DictConfig, context: DictConfig) -> None:
    """One run of a sweep; a failure is noted and leaves the other jobs alone."""
    folder, failure = None, None
    overrides = list(context.overrides.task)
    print(" ".join(overrides), file=sys.stderr)
    try:
        folder = run(config, context)
    except Exception as error:
        failure = error
        known = isinstance(error, UserError | RunError)
        print(f"failed: {error}" if known else traceback.format_exc(), file=sys.stderr)
    record(Path(context.sweep.dir), folder, overrides, failure)


def run(config: DictConfig, context: DictConfig) -> Path:
    """Compose, check, build, run, write; the folder with the results."""
    names = {group: context.runtime.choices.get(group) for group in GROUPS}
    folder = None
    if config.resume is not None:
        folder = Path(config.resume).expanduser()
        config, names = reopened(folder, config, list(context.overrides.task))
    prepared = Prepared(config, names, config_dirs(context))
    in_sweep = context.mode == RunMode.MULTIRUN
    folder = folder or prepared.folder(by_hash=in_sweep)
    if (folder / "summary.json").exists() and not prepared.settings.force:
        print(f"finished before: {folder}", file=sys.stderr)
    else:
        prepared.run(folder, hydra_files(config, context))
    if not in_sweep:
        show_run(folder)
    return folder


def hydra_files(config: DictConfig, context: DictConfig) -> dict[str, str]:
    """What Hydra knows of this run, as it would write it into .hydra/."""
    return {
        ".hydra/config.yaml": OmegaConf.to_yaml(config),
        ".hydra/hydra.yaml": OmegaConf.to_yaml(context),
        ".hydra/overrides.yaml": OmegaConf.to_yaml(context.overrides.task),
    }


def config_dirs(context: DictConfig) -> tuple[Path, ...]:
    """The folders the user passed by --config-dir, whose modules may be built."""
    return tuple(Path(source.path) for source in context.runtime.config_sources if source.provider == "command-line")


def reopened(folder: Path, config: DictConfig, overrides: list[str]) -> tuple[DictConfig, dict[str, str | None]]:
    """The config and group choices of a run to be resumed. Raises UserError."""
    others = [o for o in overrides if o.partition("=")[0] not in RESUME_MAY_CHANGE]
    if others:
        raise UserError(
            f"resume={folder} takes its settings from that folder; besides it only device and threads can be given, "
            f"not {', '.join(others)}"
        )
    saved = folder / "config.yaml"
    if not saved.is_file():
        raise UserError(f"resume={folder}: there is no config.yaml; name the folder of one run")
    try:
        old = OmegaConf.load(saved)
        names = OmegaConf.to_container(OmegaConf.load(folder / ".hydra" / "names.yaml"))
    except (OSError, ValueError, YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"resume={folder}: its config.yaml cannot be read ({reason})") from error
    for name in RESUME_MAY_CHANGE:
        old[name] = config[name]
    return old, names


class Prepared:
    """A config whose every part has been checked and built; nothing has been written yet."""

    def __init__(self, config: DictConfig, names: dict[str, str | None], dirs: tuple[Path, ...]):
        self.config, self.names = config, names
        top = OmegaConf.masked_copy(config, [key for key in config if key not in GROUPS])
        self.settings = settings(top, Settings, "")
        chosen = [family for family in FAMILIES if config.get(family) is not None]
        if len(chosen) > 1:
            raise UserError(f"{' and '.join(chosen)} are both set; a run takes one technique of one family")
        self.family = chosen[0] if chosen else None
        from mlbench.train import Training

        self.training = settings(config.train, Training, "train")
        self.technique = None
        if self.family:
            base = importlib.import_module(f"mlbench.{self.family}.base")
            self.technique = build(config[self.family], base.Method, self.family, dirs)
        from mlbench.data.source import Data

        self.data = build(config.data, Data, "data", dirs)
        self.dirs = dirs
        self.built = False

    def folder(self, by_hash: bool) -> Path:
        """Where the run writes: by a hash of its settings in a sweep, a name nobody else has otherwise."""
        kind = "-".join(self.names[group] for group in (self.family, "data", "model") if group)
        if by_hash:
            resolved = OmegaConf.to_container(self.config, resolve=True)
            hashed = {name: value for name, value in resolved.items() if name not in UNHASHED}
            name = hashlib.sha256(json.dumps(hashed, sort_keys=True).encode()).hexdigest()[:16]
        else:
            name = f"{datetime.now():%Y-%m-%d_%H-%M-%S-%f}"[:-3] + f"-{secrets.token_hex(2)}"
        return Path(self.settings.out).expanduser() / (self.family or "plain") / kind / name

    def run(self, folder: Path, hydra_files: dict[str, str]) -> None:
        """Build data, network and runner, then the folder, then train. Raises UserError before the folder is made."""
        import torch

        from mlbench.display import Display
        from mlbench.hardware import choose_device, choose_threads
        from mlbench.randomness import Draws
        from mlbench.results import Run
        from mlbench.train import Compute

        chosen = self.settings
        device = choose_device(chosen.device)
        compute = Compute(device, chosen.precision)
        torch.use_deterministic_algorithms(chosen.deterministic)
        draws = Draws(chosen.seed, device)
        try:
            stream = self.data.stream(Path(chosen.data_dir).expanduser(), draws.stream)
        except SettingError as error:
            raise UserError(f"data.{error}") from error
        runner = self.runner(stream)
        net = self.network(stream)
        torch.set_num_threads(choose_threads(chosen.threads, net, stream.input_shape, self.training.batch_size))
        if not folder.exists() or chosen.force:
            self.create(folder, hydra_files)
        layout = torch.channels_last if compute.channels_last else torch.preserve_format
        net.to(device, memory_format=layout)
        identity = {
            "family": self.family or "plain",
            "technique": self.names[self.family] if self.family else None,
            "data": self.names["data"],
            "model": self.names["model"],
            "seed": chosen.seed,
        }
        with Run(folder, identity, chosen.keep, device, Display()) as run:
            try:
                runner(stream.to(device), net, self.training, compute, run, draws, self.describe(stream))()
            except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
                if out_of_memory(error):
                    raise RunError(
                        f"out of memory on {device}; try a smaller train.batch_size, model or memory_total\n"
                        f"what was measured is in {folder}"
                    ) from error
                raise
            except KeyboardInterrupt:
                raise Interrupted(folder) from None
            except RunError as error:
                raise RunError(f"{error}\nwhat was measured is in {folder}") from error

    def runner(self, stream: "Stream"):
        """A function that makes the family's runner. Raises UserError when family and data do not go together."""
        if self.family is None:
            from mlbench.plain import Plain, check_plain

            check_plain(stream)
            return Plain
        base = importlib.import_module(f"mlbench.{self.family}.base")
        return base.prepare(self.technique, stream, self.names[self.family])

    def network(self, stream: "Stream"):
        """The model, its weights from `checkpoint` if one is given. Raises UserError when it does not fit."""
        import torch
        from torch import nn

        shape = stream.input_shape
        given = {"input_shape": shape, "outputs": stream.outputs}
        net = build(self.config.model, nn.Module, "model", self.dirs, **given)
        described = "x".join(str(side) for side in shape)
        try:
            with torch.no_grad():
                made = net.eval()(torch.zeros(2, *shape)).shape
        except (RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"model={self.names['model']} does not take pictures of {described} ({reason})") from error
        if made != (2, stream.outputs):
            raise UserError(f"model={self.names['model']} gives {list(made[1:])} outputs; needed are {stream.outputs}")
        if self.settings.checkpoint:
            load_weights(net, Path(self.settings.checkpoint), self.names["model"])
        return net

    def describe(self, stream: "Stream"):
        """A function that packs a network with what `mlbench.load` needs."""
        from mlbench.checkpoint import Trained

        model = OmegaConf.to_container(self.config.model, resolve=True)
        normalise = stream.tasks[0].train.normalise
        about = (model, stream.input_shape, stream.outputs, stream.classes, stream.scenario, normalise)
        return lambda net: Trained(net, *about)

    def create(self, folder: Path, hydra_files: dict[str, str]) -> None:
        """Make the run's folder with its config inside; with `force` an older one goes first."""
        import shutil

        from mlbench.results import create_folder

        if folder.exists():
            shutil.rmtree(folder)
        files = {
            "config.yaml": OmegaConf.to_yaml(self.config, resolve=True),
            ".hydra/names.yaml": OmegaConf.to_yaml(OmegaConf.create(self.names)),
            **hydra_files,
        }
        create_folder(folder, files)


def load_weights(net, path: Path, name: str) -> None:
    """Put the weights of a checkpoint into `net`. Raises UserError when they are of another model."""
    from mlbench.checkpoint import read_network

    packed = read_network(path)
    try:
        net.load_state_dict(packed["weights"])
    except RuntimeError as error:
        made = {key: value for key, value in packed["model"].items() if key != "_target_"}
        kind = packed["model"]["_target_"].rpartition(".")[2]
        shape = "x".join(str(side) for side in packed["input_shape"])
        raise UserError(
            f"checkpoint={path} is of another model: {kind} {made or ''} for {shape} pictures and "
            f"{packed['outputs']} outputs\nit does not fit model={name} with this data"
        ) from error


def out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory ran out, on the CPU or an accelerator."""
    return isinstance(error, MemoryError) or "out of memory" in str(error) or "can't allocate memory" in str(error)
