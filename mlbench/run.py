"""The entry point of a run: compose, check, build, run, write. cli/launchers/ starts its sweeps."""

import sys
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

from mlbench.cli.launchers.processes import forget_others
from mlbench.core.config_groups import CHOICES, conf_folder
from mlbench.core.errors import RunError, UserError
from mlbench.reporting.sweep.summary import conclude
from mlbench.reporting.terminal import show_run
from mlbench.runs import layout
from mlbench.runs.sweep_log import missing_folders, write_job

RESUME_MAY_CHANGE = ("resume", "device", "threads")


class Failure(BaseException):
    """Carries what went wrong in a single run past Hydra, which prints every Exception that it sees."""

    def __init__(self, error: Exception):
        self.error = error


def job(config: DictConfig) -> bool:
    """What Hydra calls with a composed config: whether it went well. Processes of launchers find it by its name."""
    context = HydraConfig.get()
    if context.mode == RunMode.MULTIRUN:
        return sweep_job(config, context)
    try:
        run(config, context)
    except Exception as error:
        raise Failure(error) from error
    return True


def main() -> None:
    """Compose the config from the command line and run it, or sweep over it. Raises what goes wrong."""
    forget_others()
    try:
        hydra.main(config_path=str(conf_folder()), config_name="config", version_base="1.3")(job)()
    except Failure as failure:
        raise failure.error from None
    except KeyboardInterrupt:
        if (sweep := Sweep.take()) is None:
            raise
        with suppress(UserError, RunError):  # jobs that failed earlier are in the list; the interruption is the news
            conclude(sweep.folder, sweep.new_folders)
        raise KeyboardInterrupt("interrupted; the same command goes on where it stopped") from None
    except OSError as error:  # Hydra makes the sweep's folder; its MissingConfigException is an OSError, too
        if isinstance(error, HydraException) or (sweep := Sweep.take()) is None:
            end_sweep()
            raise
        raise UserError(f"cannot write results into {sweep.folder}: {error.strerror}; choose another out=") from error
    except Exception:
        end_sweep()
        raise
    end_sweep()


def end_sweep() -> None:
    """Print the table of the sweep of this command, if it is one. Raises UserError or RunError for jobs that failed."""
    if (sweep := Sweep.take()) is not None:
        conclude(sweep.folder, sweep.new_folders)


@dataclass(frozen=True)
class SweepFolder:
    """Where a sweep has its list of jobs, and which folders did not exist before it began."""

    folder: Path
    new_folders: list[Path]


class Sweep(Callback):
    """Tells `main` of the sweep that Hydra starts.

    config.yaml names this class, Hydra makes the object and keeps it to itself: the class holds what is handed over.
    """

    started: ClassVar[SweepFolder | None] = None

    def on_multirun_start(self, config: DictConfig, **_: object) -> None:
        """Note the sweep's folder; Hydra calls this once, before the first job."""
        folder = Path(config.hydra.sweep.dir).expanduser().resolve()
        Sweep.started = SweepFolder(folder, missing_folders(folder))

    @classmethod
    def take(cls) -> SweepFolder | None:
        """The sweep that was started, once; None where there is none, or where it was taken before."""
        started, cls.started = cls.started, None
        return started


def sweep_job(config: DictConfig, context: DictConfig) -> bool:
    """One run of a sweep, and whether it went well; a failure is noted and leaves the other jobs alone."""
    folder, failure = None, None
    overrides = list(context.overrides.task)
    print(" ".join(overrides), file=sys.stderr)
    try:
        folder = run(config, context)
    except Exception as error:
        failure = error
        known = isinstance(error, UserError | RunError)
        print(f"failed: {error}" if known else traceback.format_exc(), file=sys.stderr)
    write_job(Path(context.sweep.dir), context.job.num, folder, overrides, failure)
    return failure is None


def run(config: DictConfig, context: DictConfig) -> Path:
    """Compose, check, build, run, write; the folder with the results."""
    from mlbench.cli.families import family_of
    from mlbench.experiment.checked_config import CheckedConfig  # torch comes with it; mistakes of spelling need none
    from mlbench.experiment.experiment import Experiment
    from mlbench.runs.provenance import outdated
    from mlbench.runs.run_dir import tidy

    names = {group: context.runtime.choices.get(group) for group in CHOICES}
    folder = None
    if config.resume is not None:
        folder = Path(config.resume).expanduser()
        config, names = reopened(folder, config, list(context.overrides.task))
    family = family_of(config)
    checked = CheckedConfig(config, names, config_dirs(context), began(context), family.method)
    experiment = Experiment(checked, family)
    in_sweep = context.mode == RunMode.MULTIRUN
    folder = folder or experiment.folder(by_hash=in_sweep)
    old = experiment.begun(folder)
    why = outdated(folder, checked.inputs()) if old else ""
    remark = f" ({why}; force=true runs it anew)" if why else ""
    if old and layout.is_finished(folder):
        tidy(folder)
        print(f"finished before: {folder}{remark}", file=sys.stderr)
    else:
        if remark:
            print(f"begun before: {folder}{remark}", file=sys.stderr)
        experiment.run(folder, hydra_files(config, context), wait=in_sweep)
    if not in_sweep:
        show_run(folder)
    return folder


def began(context: DictConfig) -> float:
    """When the command began (s since 1970): for all jobs of a sweep, in whatever process and however often a cluster
    starts them, when Hydra wrote down the sweep."""
    written = Path(context.sweep.dir) / layout.MULTIRUN
    return written.stat().st_mtime if context.mode == RunMode.MULTIRUN and written.exists() else time.time()


def hydra_files(config: DictConfig, context: DictConfig) -> dict[str, str]:
    """What Hydra knows of this run, as it would write it into .hydra/."""
    return {
        f"{layout.HYDRA}/config.yaml": OmegaConf.to_yaml(config),
        f"{layout.HYDRA}/hydra.yaml": OmegaConf.to_yaml(context),
        f"{layout.HYDRA}/overrides.yaml": OmegaConf.to_yaml(context.overrides.task),
    }


def config_dirs(context: DictConfig) -> tuple[Path, ...]:
    """The folders the user passed by --config-dir, whose modules may be built."""
    return tuple(Path(source.path) for source in context.runtime.config_sources if source.provider == "command-line")


def reopened(folder: Path, config: DictConfig, overrides: list[str]) -> tuple[DictConfig, dict[str, str | None]]:
    """The config and group choices of a run to be resumed. Raises UserError."""
    others = [o for o in overrides if o.partition("=")[0] not in RESUME_MAY_CHANGE]
    if others:
        raise UserError(
            f"resume={folder} takes its settings from that folder; besides it only threads, and a device of the same "
            f"kind, can be given, not {', '.join(others)}"
        )
    saved = folder / layout.CONFIG
    if not saved.is_file():
        raise UserError(f"resume={folder}: there is no config.yaml; name the folder of one run")
    try:
        old = OmegaConf.load(saved)
        names = OmegaConf.to_container(OmegaConf.load(folder / layout.HYDRA / layout.GROUP_NAMES))
    except (OSError, ValueError, YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"resume={folder}: its config.yaml cannot be read ({reason})") from error
    for name in (override.partition("=")[0] for override in overrides):
        old[name] = config[name]
    old.force = False  # it was meant for the run's beginning; now it would throw away what is to be resumed
    return old, names
