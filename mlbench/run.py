"""The entry point of a run: compose, check, build, run, write; and the one place that knows the families."""

import hashlib
import secrets
import sys
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from mlbench.core.config_groups import CHOICES, conf_folder
from mlbench.core.errors import RunError, UserError
from mlbench.core.interruption import interruption
from mlbench.core.plain_text import printable
from mlbench.core.user_path import user_path
from mlbench.reporting.sweep.summary import conclude
from mlbench.reporting.terminal import show_run
from mlbench.runs import layout
from mlbench.runs.sweep_log import missing_folders, write_job

if TYPE_CHECKING:
    from mlbench.experiment.family import Family


def lifelong() -> "Family":
    """Lifelong learning."""
    from mlbench.experiment.family import Family
    from mlbench.lifelong import base, runner

    return Family("lifelong", base.Method, runner.prepare)


def compress() -> "Family":
    """Network compression."""
    from mlbench.compress import base, runner
    from mlbench.experiment.family import Family

    return Family("compress", base.Method, runner.prepare)


def explain() -> "Family":
    """Interpretability."""
    from mlbench.experiment.family import Family
    from mlbench.explain import base, runner

    return Family("explain", base.Method, runner.prepare)


def supervised() -> "Family":
    """Training without a technique."""
    from mlbench.experiment import supervised as runner
    from mlbench.experiment.family import Family
    from mlbench.experiment.technique import Technique

    return Family("plain", Technique, runner.prepare)


FAMILIES = {"lifelong": lifelong, "compress": compress, "explain": explain, None: supervised}


def family_of(config: DictConfig) -> "Family":
    """The family whose technique a composed config has set. Raises UserError where there are two."""
    from mlbench.experiment.checked_config import chosen_family

    return FAMILIES[chosen_family(config)]()


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
        folder = user_path(config.hydra.sweep.dir).resolve()
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
    print(printable(" ".join(overrides)), file=sys.stderr)
    try:
        folder = run(config, context)
    except Exception as error:
        failure = error
        known = isinstance(error, UserError | RunError)
        print(printable(f"failed: {error}" if known else traceback.format_exc(), lines=True), file=sys.stderr)
        interruption.check()  # an error that came of it is no reason to begin the next job
    write_job(Path(context.sweep.dir), context.job.num, folder, overrides, failure)
    return failure is None


def run(config: DictConfig, context: DictConfig) -> Path:
    """Compose, check, build, run, write; the folder with the results."""
    from mlbench.experiment.checked_config import CheckedConfig  # torch comes with it; mistakes of spelling need none
    from mlbench.experiment.experiment import Experiment
    from mlbench.experiment.resume import reopened
    from mlbench.runs.provenance import outdated
    from mlbench.runs.run_repair import tidy

    names = {group: context.runtime.choices.get(group) for group in CHOICES}
    folder = None
    if config.resume is not None:
        folder = user_path(config.resume)
        config, names = reopened(folder, config, list(context.overrides.task))
    family = family_of(config)
    checked = CheckedConfig(config, names, config_dirs(context), command_name(context), family.method)
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


def command_name(context: DictConfig) -> str:
    """A name for this command that all jobs of a sweep share, in whatever process and however often a cluster starts
    them: it is made of the file in which Hydra has written down the sweep."""
    written = Path(context.sweep.dir) / layout.MULTIRUN
    if context.mode != RunMode.MULTIRUN or not written.exists():
        return secrets.token_hex(8)
    state = written.stat()
    return hashlib.sha256(f"{written.resolve()} {state.st_ino} {state.st_mtime_ns}".encode()).hexdigest()[:16]


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
