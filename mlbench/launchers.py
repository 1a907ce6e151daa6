"""How the jobs of a sweep are started: several at once on this machine, or as jobs of a SLURM cluster."""

import functools
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, filter_overrides, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from mlbench.catalogue import conf_folder
from mlbench.errors import RunError, SettingError, UserError, require
from mlbench.sweep import record

POLL_SECONDS = 2.0  # between looks at the jobs of a cluster
QUEUE_SECONDS = 15.0  # between questions to its scheduler


def forget_others() -> None:
    """Take launchers of the same names as ours out of Hydra's store: it would mix their settings into ours."""
    Plugins.instance()  # finds them
    launchers = ConfigStore.instance().repo["hydra"]["launcher"]
    for ours in (conf_folder() / "hydra" / "launcher").glob("*.yaml"):
        launchers.pop(ours.name, None)


class SweepJob:
    """A job of a sweep, called in another process with its overrides and its number."""

    def __init__(self, context: HydraContext, function: TaskFunction, config: DictConfig, threads: int):
        self.context, self.function, self.config, self.threads = context, function, config, threads
        self.singletons = Singleton.get_state()

    def __call__(self, overrides: list[str], number: int) -> bool:
        """Whether the job came to its end; why it did not is noted with the sweep."""
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
        """What submitit puts back into the queue: the same again, which goes on from the run's last checkpoint."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self, overrides, number)


class SweepLauncher(Launcher):
    """What both kinds have in common."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Called by Hydra before `launch`."""
        self.context, self.function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Called by Hydra with the overrides of each job, the first of which has the number `initial_job_idx`."""
        setup_globals()
        self.folder = Path(self.config.hydra.sweep.dir).expanduser()
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
        """Note a job that ended without a word of its own."""
        told = list(filter_overrides(overrides))
        print(f"{' '.join(told)}: {why}", file=sys.stderr)
        record(self.folder, number, None, told, RunError(why))


class Processes(SweepLauncher):
    """Several jobs at once on this machine, each in a process of its own.

    hydra-joblib-launcher ends the whole sweep when one of its workers is killed; here that costs one job.
    """

    def __init__(self, n_jobs: int):
        self.n_jobs = n_jobs  # at once; -1: as many as there are cores for

    def start(self, jobs: list[list[str]], first: int) -> None:
        """Run the jobs, whose numbers begin with `first`, to their end."""
        import joblib

        from mlbench import workers

        wanted = self.config.threads
        threads = wanted if isinstance(wanted, int) and wanted > 0 else None
        at_once, threads = workers.shares(len(jobs), joblib.cpu_count(), self.n_jobs, threads)
        print(f"{len(jobs)} jobs, {at_once} at once, threads for each: {threads}", file=sys.stderr)
        os.environ["OMP_NUM_THREADS"] = str(threads)  # before torch and numpy are imported
        import mlbench.prepare  # noqa: F401  forked processes have it then

        logs = self.folder / "logs"
        logs.mkdir(exist_ok=True)
        job = joblib.wrap_non_picklable_objects(SweepJob(self.context, self.function, self.config, threads))
        calls = [functools.partial(job, overrides, first + place) for place, overrides in enumerate(jobs)]
        files = [logs / f"{first + place}.txt" for place in range(len(jobs))]
        over = 0

        def ended(place: int, code: int) -> None:
            nonlocal over
            over += 1
            if code not in workers.SAID:
                self.lost(jobs[place], first + place, workers.cause(code))
            how = "done" if code == 0 else f"failed, see {files[place]}"
            print(f"[{over}/{len(jobs)}] {' '.join(filter_overrides(jobs[place]))}: {how}", file=sys.stderr)

        workers.run_all(calls, files, at_once, ended)


@dataclass
class Slurm(SweepLauncher):
    """Jobs of a SLURM cluster, started by submitit; one that is preempted or out of time goes on later.

    hydra-submitit-launcher waits for ever for a job that was killed where the cluster keeps no accounts, and stops at
    the first one that failed; its names are kept.
    """

    cluster: str  # slurm, or local: without one, all jobs at once on this machine
    timeout_min: int
    signal_delay_s: int  # before the end of that time a job stops and goes back into the queue
    max_num_timeout: int  # so many times
    cpus_per_task: int | None  # None: `threads`, and one where that is auto
    mem_gb: float | None
    gpus_per_node: int | None
    partition: str | None
    qos: str | None
    account: str | None
    constraint: str | None
    array_parallelism: int  # jobs at once
    setup_lines: list[str]  # of the shell, before each job
    additional_parameters: dict[str, Any]  # of sbatch

    def start(self, jobs: list[list[str]], first: int) -> None:
        """Run the jobs, whose numbers begin with `first`, to their end."""
        require(self.cluster in ("slurm", "local"), "cluster", self.cluster, "slurm|local")
        wanted = self.config.threads
        threads = self.cpus_per_task or (wanted if isinstance(wanted, int) else 1)
        job = SweepJob(self.context, self.function, self.config, threads)
        numbers = range(first, first + len(jobs))
        try:
            submitted = self.executor(threads).map_array(job, jobs, numbers)
        except RuntimeError as error:  # no SLURM here, or sbatch refuses
            raise UserError(f"hydra/launcher=submitit_slurm: {' '.join(str(error).split())}") from error
        print(f"{len(jobs)} jobs submitted, logs in {self.folder / 'slurm'}", file=sys.stderr)
        try:
            self.follow({number: (job, of) for number, job, of in zip(numbers, submitted, jobs, strict=True)})
        except KeyboardInterrupt:
            for job in submitted:
                job.cancel(check=False)
            raise

    def executor(self, threads: int) -> Any:
        """Submitit's executor with these settings. Raises UserError where submitit is not installed."""
        try:
            import submitit
        except ImportError as error:
            raise UserError("hydra/launcher=submitit_slurm needs submitit: pip install 'mlbench[sweep]'") from error
        retries = {"slurm_max_num_timeout": self.max_num_timeout, "local_max_num_timeout": self.max_num_timeout}
        executor = submitit.AutoExecutor(self.folder / "slurm", cluster=self.cluster, **retries)
        executor.update_parameters(
            name="mlbench",
            timeout_min=self.timeout_min,
            cpus_per_task=threads,
            mem_gb=self.mem_gb,
            gpus_per_node=self.gpus_per_node,
            slurm_partition=self.partition,
            slurm_qos=self.qos,
            slurm_account=self.account,
            slurm_constraint=self.constraint,
            slurm_array_parallelism=self.array_parallelism,
            slurm_setup=list(self.setup_lines),
            slurm_signal_delay_s=self.signal_delay_s,
            slurm_additional_parameters=dict(self.additional_parameters),
        )
        return executor

    def follow(self, left: dict[int, tuple[Any, list[str]]]) -> None:
        """Wait for all jobs (by number: submitit's job and the overrides), and note those that are lost."""
        missed, asked = set[int](), time.monotonic()
        while left:
            time.sleep(POLL_SECONDS)
            for number in [number for number, (job, _) in left.items() if job.paths.result_pickle.exists()]:
                job, overrides = left.pop(number)
                if error := job.exception():
                    self.lost(overrides, number, str(error).strip().splitlines()[-1])
                else:
                    print(f"ended: {' '.join(filter_overrides(overrides))}", file=sys.stderr)
            if time.monotonic() - asked < QUEUE_SECONDS:
                continue
            asked = time.monotonic()
            there = self.queued([job for job, _ in left.values()])
            gone = {number for number, (job, _) in left.items() if job.job_id not in there}
            for number in gone & missed:  # twice, since its result may be on its way over the network
                job, overrides = left.pop(number)
                self.lost(overrides, number, f"its job ended without a result; see {job.paths.stderr}")
            missed = gone

    def queued(self, jobs: list[Any]) -> set[str]:
        """The ids of those jobs that wait or run; all of them when SLURM does not answer."""
        if self.cluster != "slurm":
            return {job.job_id for job in jobs if not job.done()}
        words = ["squeue", "--noheader", "--array", "--format=%i", f"--user={os.getuid()}"]
        asked = subprocess.run(words, capture_output=True, text=True, check=False)
        return {job.job_id for job in jobs} if asked.returncode else set(asked.stdout.split())
