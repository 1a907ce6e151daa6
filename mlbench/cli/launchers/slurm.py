"""The jobs of a sweep as jobs of a SLURM cluster."""

import os
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

from hydra.core.utils import filter_overrides

from mlbench.cli.launchers.processes import SweepJob, SweepLauncher
from mlbench.core.errors import UserError, need, require

POLL_SECONDS = 2.0  # between looks at the jobs of a cluster
QUEUE_SECONDS = 15.0  # between questions to its scheduler


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
        submitit = need("submitit", "sweep", "hydra/launcher=submitit_slurm")
        python = f"{shlex.quote(sys.executable)} -P"  # nothing of the working directory is imported, as everywhere
        retries = {"slurm_max_num_timeout": self.max_num_timeout, "local_max_num_timeout": self.max_num_timeout}
        own = {**retries, "slurm_python": python, "local_python": python}
        executor = submitit.AutoExecutor(self.folder / "slurm", cluster=self.cluster, **own)
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
