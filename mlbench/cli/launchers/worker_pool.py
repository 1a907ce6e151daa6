"""Several jobs at once on this machine, each in a process of its own: one that is killed takes no other with it."""

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

from mlbench.core.errors import require

REPORTED = (0, 1)  # exit codes of jobs that have told how they ended: well, and badly
GRACE_SECONDS = 30.0  # to a job that is told to stop, before it is killed


def shares(jobs: int, cores: int, wanted: int, threads: int | None) -> tuple[int, int]:
    """How many of `jobs` run at once and how many threads each may take, so that the machine is full and no more.

    `wanted` at once (-1: as many as fit); `threads` each, if that is set. Raises SettingError.
    """
    require(wanted == -1 or wanted >= 1, "n_jobs", wanted, "-1 (as many as there are cores), or 1 or more")
    at_once = min(jobs, wanted if wanted > 0 else max(1, cores // (threads or 1)))
    return at_once, threads or max(1, cores // at_once)


def run_all(jobs: list[Callable[[], bool]], logs: list[Path], at_once: int) -> Iterator[tuple[int, int]]:
    """Call each job in a process of its own, what it prints into its log; its place and exit code when it has ended.

    Whatever interrupts this ends all processes first.
    """
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    left, running = list(range(len(jobs))), dict[int, BaseProcess]()
    try:
        while left or running:
            while left and len(running) < at_once:
                number = left.pop(0)
                with ctrl_c_later():
                    process = context.Process(target=work, args=(jobs[number], logs[number]))
                    process.start()
                    running[number] = process
            wait([process.sentinel for process in running.values()])
            for number in [number for number, process in running.items() if process.exitcode is not None]:
                yield number, running.pop(number).exitcode
    finally:
        stop(list(running.values()))


def stop(processes: list[BaseProcess]) -> None:
    """End processes, by force those that do not listen."""
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(GRACE_SECONDS)
        process.kill()
        process.join()


def work(job: Callable[[], bool], log: Path) -> None:
    """What a process does: the job, which says whether it went well.

    It stops, as after Ctrl-C, when it is told to, or when nobody is left to tell it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all, and run_all stops them in order
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    Thread(target=stop_with_parent, daemon=True).start()
    with log.open("ab") as file:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        sys.exit(0 if job() else 1)
    except KeyboardInterrupt as stopped:
        print(str(stopped) or "interrupted", file=sys.stderr)
        sys.exit(130)
    except Exception:
        traceback.print_exc()
        sys.exit(2)


def stop_with_parent() -> None:
    """Wait for the end of the process that started this one; then this one stops, too."""
    multiprocessing.parent_process().join()
    os.kill(os.getpid(), signal.SIGTERM)


@contextmanager
def ctrl_c_later() -> Iterator[None]:
    """Inside, Ctrl-C waits: no process shall start that nobody knows of."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def cause(code: int) -> str:
    """How a process ended, in words."""
    if code == -signal.SIGKILL:
        return "its process was killed (by somebody, or since memory ran out)"
    return (
        f"its process was ended by {signal.Signals(-code).name}"
        if code < 0
        else f"its process ended with exit code {code}"
    )
