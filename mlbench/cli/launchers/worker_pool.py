"""Several jobs at once on this machine, each in its own process, so that one that is killed takes no other with it."""

import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Thread

from mlbench.core.atomic_io import open_to_append
from mlbench.core.child_processes import GRACE_SECONDS
from mlbench.core.errors import require
from mlbench.core.interruption import SIGNALS, interruption

REPORTED = (0, 1)  # exit codes of jobs that have logged their own end: success and failure


def shares(jobs: int, cores: int, wanted: int, threads: int | None) -> tuple[int, int]:
    """Divide the cores of the machine among jobs.

    Args:
        jobs: how many jobs there are.
        cores: how many cores the machine has.
        wanted: how many jobs may run at once; -1 for as many as fit.
        threads: how many threads each job takes; None for its share of the cores.

    Returns:
        How many jobs run at once, and how many threads each takes.

    Raises:
        SettingError: `wanted` is neither -1 nor positive.
    """
    require(wanted == -1 or wanted >= 1, "n_jobs", wanted, "-1 (as many as there are cores), or 1 or more")
    at_once = min(jobs, wanted if wanted > 0 else max(1, cores // (threads or 1)))
    return at_once, threads or max(1, cores // at_once)


def run_all(jobs: list[Callable[[], bool]], logs: list[Path], at_once: int) -> Iterator[tuple[int, int]]:
    """Call each job in its own process. Whatever interrupts this ends all processes first.

    Args:
        jobs: functions that return whether they succeeded.
        logs: for each job the file that takes its output.
        at_once: how many processes run at the same time.

    Yields:
        The index and the exit code of each job, as soon as it has ended.
    """
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    left, running = list(range(len(jobs))), dict[int, BaseProcess]()
    try:
        while left or running:
            while left and len(running) < at_once:
                number = left.pop(0)
                with signals_blocked():
                    process = context.Process(target=work, args=(jobs[number], logs[number]))
                    process.start()
                    running[number] = process
            wait([process.sentinel for process in running.values()])
            for number in [number for number, process in running.items() if process.exitcode is not None]:
                yield number, running.pop(number).exitcode
    finally:
        stop(list(running.values()))


def stop(processes: list[BaseProcess]) -> None:
    """Terminate processes, and kill those that do not stop in time."""
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(GRACE_SECONDS)
        process.kill()
        process.join()


def work(job: Callable[[], bool], log: Path) -> None:
    """The main function of a process: run the job and exit with its result.

    The process stops on SIGTERM, which it sends itself when its parent has ended, where its run can be continued.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all, and run_all stops them in order
    interruption.listen()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    Thread(target=stop_with_parent, daemon=True).start()
    with open_to_append(log) as file:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        sys.exit(0 if job() else 1)
    except KeyboardInterrupt as stopped:
        print(str(stopped) or "interrupted", file=sys.stderr)
        sys.exit(interruption.exit_code)
    except Exception:
        traceback.print_exc()
        sys.exit(2)


def stop_with_parent() -> None:
    """Wait for the parent process to end, then stop this one."""
    multiprocessing.parent_process().join()
    os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def signals_blocked() -> Iterator[None]:
    """Defer signals, so that no process starts that is not in the list of running ones."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def cause(code: int) -> str:
    """How a process ended, in words."""
    if code == -signal.SIGKILL:
        return "its process was killed (by somebody, or since memory ran out)"
    return (
        f"its process was ended by {signal.Signals(-code).name}"
        if code < 0
        else f"its process ended with exit code {code}"
    )
