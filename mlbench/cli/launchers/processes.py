"""The jobs of a sweep on this machine; slurm.py starts them on a SLURM cluster."""

import functools
import gc
import os
import sys
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, filter_overrides, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from mlbench.cli.launchers import worker_pool
from mlbench.core.config_groups import conf_folder
from mlbench.core.errors import RunError, SettingError, UserError
from mlbench.core.instantiate import checked, field_types
from mlbench.core.user_path import user_path
from mlbench.runs.sweep_log import write_job


def forget_others() -> None:
    """Remove other packages' launchers of the same names from Hydra's store: it would mix their settings."""
    Plugins.instance()  # finds them
    launchers = ConfigStore.instance().repo["hydra"]["launcher"]
    for ours in (conf_folder() / "hydra" / "launcher").glob("*.yaml"):
        launchers.pop(ours.name, None)


class SweepJob:
    """A job of a sweep, called with its overrides and its number, in another process where `threads` are given."""

    def __init__(self, context: HydraContext, function: TaskFunction, config: DictConfig, threads: int | None = None):
        self.context, self.function, self.config, self.threads = context, function, config, threads
        self.singletons = Singleton.get_state()

    def __call__(self, overrides: list[str], number: int) -> bool:
        """Run the job and return whether it succeeded; the sweep's log has the reason where it did not."""
        if self.threads is not None:
            os.environ["OMP_NUM_THREADS"] = str(self.threads)
        if not GlobalHydra.instance().is_initialized():  # this process was not forked from the sweep's
            Singleton.set_state(self.singletons)
            forget_others()
            setup_globals()
        config = self.context.config_loader.load_sweep_config(self.config, overrides)
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        return run_job(self.function, config, "hydra.sweep.dir", "hydra.sweep.subdir", self.context).return_value

    def checkpoint(self, overrides: list[str], number: int) -> Any:
        """The job that submitit puts back into the queue; it continues from the run's last checkpoint."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, overrides, number)


class SweepLauncher(Launcher):
    """The base class of our launchers."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra before `launch`. Raises UserError for settings of another kind."""
        self.context, self.function, self.config = hydra_context, task_function, config
        node = config.hydra.launcher
        values = {name: node._get_node(name) for name in node if name != "_target_"}
        vars(self).update(checked(values, field_types(type(self), exclude=set()), "hydra.launcher"))

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Called by Hydra with the overrides of each job, the first of which has the number `initial_job_idx`."""
        setup_globals()
        self.folder = user_path(self.config.hydra.sweep.dir)
        self.folder.mkdir(parents=True, exist_ok=True)
        jobs = [list(overrides) for overrides in job_overrides]
        try:
            self.start(jobs, initial_job_idx)
        except SettingError as error:
            raise UserError(f"hydra.launcher.{error}") from error
        return [JobReturn(overrides=job, status=JobStatus.COMPLETED) for job in jobs]  # failures are in jobs.jsonl

    def start(self, jobs: list[list[str]], first: int) -> None:
        """Run the jobs, whose numbers begin with `first`, to their end."""
        raise NotImplementedError

    def lost(self, overrides: list[str], number: int, why: str) -> None:
        """Log a job whose process ended before it could write its own entry."""
        settings = list(filter_overrides(overrides))
        print(f"{' '.join(settings)}: {why}", file=sys.stderr)
        write_job(self.folder, number, None, settings, RunError(why))


class Serial(SweepLauncher):
    """One job after the other, in this process. Hydra's own keeps the config of each, half a megabyte, to the end."""

    def start(self, jobs: list[list[str]], first: int) -> None:
        """Run the jobs, whose numbers begin with `first`, to their end."""
        job = SweepJob(self.context, self.function, self.config)
        try:
            for number, overrides in enumerate(jobs, start=first):
                job(overrides, number)
                if number == first:  # what the first job has imported stays: the collector need not look at it again
                    gc.collect()
                    gc.freeze()
        finally:
            gc.unfreeze()


class Processes(SweepLauncher):
    """Several jobs at once on this machine, each in a process of its own.

    hydra-joblib-launcher ends the whole sweep when one of its workers is killed; here that costs one job.
    """

    def __init__(self, n_jobs: int):
        self.n_jobs = n_jobs  # at once; -1: as many as there are cores for

    def start(self, jobs: list[list[str]], first: int) -> None:
        """Run the jobs, whose numbers begin with `first`, to their end."""
        import joblib

        wanted = self.config.threads
        threads = wanted if isinstance(wanted, int) and wanted > 0 else None
        at_once, threads = worker_pool.shares(len(jobs), joblib.cpu_count(), self.n_jobs, threads)
        print(f"{len(jobs)} jobs, {at_once} at once, threads for each: {threads}", file=sys.stderr)
        os.environ["OMP_NUM_THREADS"] = str(threads)  # before torch and numpy are imported
        import_once()
        logs = self.folder / "logs"
        logs.mkdir(exist_ok=True)
        job = joblib.wrap_non_picklable_objects(SweepJob(self.context, self.function, self.config, threads))
        calls = [functools.partial(job, overrides, first + place) for place, overrides in enumerate(jobs)]
        files = [logs / f"{first + place}.txt" for place in range(len(jobs))]
        with closing(worker_pool.run_all(calls, files, at_once)) as ends:
            for over, (place, code) in enumerate(ends, start=1):
                if code not in worker_pool.REPORTED:
                    self.lost(jobs[place], first + place, worker_pool.cause(code))
                how = "done" if code == 0 else f"failed, see {files[place]}"
                print(f"[{over}/{len(jobs)}] {' '.join(filter_overrides(jobs[place]))}: {how}", file=sys.stderr)


def import_once() -> None:
    """Import what every job needs, before forking; none of it touches CUDA, which no fork survives."""
    import torch._dynamo  # noqa: F401

    import mlbench.experiment.experiment  # noqa: F401
    from mlbench.run import FAMILIES

    for family in FAMILIES.values():
        family()
