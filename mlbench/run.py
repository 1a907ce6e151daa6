"""The entry point of a run: compose, check, build, run, write. cli/launchers/ starts its sweeps."""

import json
import os
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path

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
from mlbench.runs.sweep_log import missing, record

SWEEP = "MLBENCH_SWEEP"  # environment variable: where the sweep under way keeps its list of jobs
MADE = "MLBENCH_SWEEP_MADE"  # another: the folders that were not there before
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
        if SWEEP not in os.environ:
            raise
        with suppress(UserError, RunError):  # jobs that failed earlier are in the list; the interruption is the news
            end_sweep()
        raise KeyboardInterrupt("interrupted; the same command goes on where it stopped") from None
    except OSError as error:  # Hydra makes the sweep's folder; its MissingConfigException is an OSError, too
        if isinstance(error, HydraException) or SWEEP not in os.environ:
            end_sweep()
            raise
        folder = os.environ.pop(SWEEP)
        del os.environ[MADE]
        raise UserError(f"cannot write results into {folder}: {error.strerror}; choose another out=") from error
    except Exception:
        end_sweep()
        raise
    end_sweep()


def end_sweep() -> None:
    """The table of the sweep under way, if there is one. Raises UserError or RunError for jobs that failed."""
    if sweep := os.environ.pop(SWEEP, None):
        conclude(Path(sweep), [Path(folder) for folder in json.loads(os.environ.pop(MADE))])


class Sweep(Callback):
    """Tells `main` where a sweep keeps its list of jobs (named in config.yaml)."""

    def on_multirun_start(self, config: DictConfig, **_: object) -> None:
        """Called by Hydra, once, before the first job."""
        sweep = Path(config.hydra.sweep.dir).expanduser().resolve()
        os.environ[SWEEP] = str(sweep)
        os.environ[MADE] = json.dumps([str(folder) for folder in missing(sweep)])


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
    record(Path(context.sweep.dir), context.job.num, folder, overrides, failure)
    return failure is None


def run(config: DictConfig, context: DictConfig) -> Path:
    """Compose, check, build, run, write; the folder with the results."""
    from mlbench.cli.families import family_of
    from mlbench.experiment.checked_config import CheckedConfig  # torch comes with it; mistakes of spelling need none
    from mlbench.experiment.experiment import Experiment
    from mlbench.runs.provenance import outdated
    from mlbench.runs.run_dir import finished, tidy

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
    told = f" ({why}; force=true runs it anew)" if why else ""
    if old and finished(folder):
        tidy(folder)
        print(f"finished before: {folder}{told}", file=sys.stderr)
    else:
        if told:
            print(f"begun before: {folder}{told}", file=sys.stderr)
        experiment.run(folder, hydra_files(config, context), wait=in_sweep)
    if not in_sweep:
        show_run(folder)
    return folder


def began(context: DictConfig) -> float:
    """When the command began (s since 1970): for all jobs of a sweep, in whatever process and however often a cluster
    starts them, when Hydra wrote down the sweep."""
    told = Path(context.sweep.dir) / "multirun.yaml"
    return told.stat().st_mtime if context.mode == RunMode.MULTIRUN and told.exists() else time.time()


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
            f"resume={folder} takes its settings from that folder; besides it only threads, and a device of the same "
            f"kind, can be given, not {', '.join(others)}"
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
    for name in (override.partition("=")[0] for override in overrides):
        old[name] = config[name]
    old.force = False  # it was meant for the run's beginning; now it would throw away what is to be resumed
    return old, names
