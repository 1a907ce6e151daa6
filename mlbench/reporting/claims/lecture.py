"""`mlbench lecture`: the claims of the three lectures, each run, tested and written on one page."""

import hashlib
import os
import re
import shutil
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from mlbench.core.child_processes import ChildProcesses, python_command
from mlbench.core.errors import RunError, UserError, nearest
from mlbench.core.plain_console import PlainConsole
from mlbench.core.plain_text import printable
from mlbench.core.user_path import user_path
from mlbench.reporting.claims import compress, explain, lifelong
from mlbench.reporting.claims.base import Claim, Result, Runs, Sweep, Verdict, read_runs
from mlbench.reporting.claims.page import write_lecture
from mlbench.runs import layout
from mlbench.runs.run_tables import UnreadableRun
from mlbench.runs.sweep_log import read_jobs

LECTURES = {
    "Lifelong learning": lifelong.CLAIMS,
    "Network compression": compress.CLAIMS,
    "Interpretability": explain.CLAIMS,
}


def lecture(words: list[str]) -> int:
    """Answer `mlbench lecture ...`; the exit code."""
    chosen = parse_options(words)
    out = chosen.out
    claims = claims_named(chosen.names)
    commands = list(dict.fromkeys(command for claim in claims for command in claim.commands(chosen.quick)))
    try:
        (out / "lecture").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"out={out}: {error.strerror}; give a folder that can be written to") from error
    began = time.monotonic()
    sweeps = run_sweeps(commands, out, chosen.jobs)
    results = [result_of(claim, [sweeps[command] for command in claim.commands(chosen.quick)]) for claim in claims]
    PlainConsole().print(table(results))
    page = write_lecture(out / "lecture" / "index.html", results, LECTURES, time.monotonic() - began)
    print(printable(f"page: {page}"))
    if troubled := [result.claim.name for result in results if result.trouble]:
        kind = UserError if {sweep.code for sweep in sweeps.values()} <= {0, 2} else RunError
        raise kind(f"no verdict for {', '.join(troubled)}, whose runs failed; see {out / 'lecture' / 'logs'}")
    return int(chosen.strict and any(result.verdict is not Verdict.HOLDS for result in results))


USAGE = "mlbench lecture [NAME...] [--quick] [--strict] [--jobs=N] [out=DIR]"


@dataclass(frozen=True)
class Options:
    """What the command line asks for."""

    names: list[str]
    quick: bool
    strict: bool
    jobs: int
    out: Path


def parse_options(words: list[str]) -> Options:
    """The command's own words. Raises UserError."""
    names = [word for word in words if re.fullmatch(r"\w+", word)]
    values = dict(word.split("=", 1) for word in words if re.fullmatch(r"(--jobs|out)=.+", word))
    flags = {word for word in words if word in ("--quick", "--strict")}
    known = {*names, *flags, *(f"{name}={value}" for name, value in values.items())}
    if wrong := [word for word in words if word not in known]:
        raise UserError(f"mlbench lecture does not take {wrong[0]}\nusage: {USAGE}")
    jobs = values.get("--jobs", str(os.cpu_count() or 1))
    if not jobs.isdigit() or int(jobs) < 1:
        raise UserError(f"--jobs={jobs}: allowed is 1 or more")
    out = user_path(values.get("out", "outputs")).resolve()
    return Options(names, "--quick" in flags, "--strict" in flags, int(jobs), out)


def claims_named(names: Iterable[str]) -> list[Claim]:
    """The claims with these names, or all. Raises UserError."""
    there = {claim.name: claim for claims in LECTURES.values() for claim in claims}
    for name in names:
        if name not in there:
            raise UserError(f"no claim called {name}{nearest(name, there)}\nthere are: {', '.join(there)}")
    return [claim for name, claim in there.items() if name in names or not names]


def run_sweeps(commands: list[str], out: Path, jobs: int) -> dict[str, Sweep]:
    """Run commands, `jobs` at once; after an interruption those under way are ended, and no other one is begun."""
    children = ChildProcesses()

    def run(words: str) -> Sweep:
        try:
            return run_sweep(words, out, children)
        except BaseException:
            children.stop()  # here, before this thread begins another one
            raise

    with ThreadPoolExecutor(jobs) as pool:
        under_way = {words: pool.submit(run, words) for words in commands}
        try:
            return {words: future.result() for words, future in under_way.items()}
        except BaseException:
            children.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def run_sweep(words: str, out: Path, children: ChildProcesses) -> Sweep:
    """Run one command in a process of its own; what it prints goes to a log. Finished runs are not run again."""
    name = re.sub(r"\W+", "_", words)[:80] + "_" + hashlib.sha256(words.encode()).hexdigest()[:8]
    folder, log = out / "lecture" / "sweeps" / name, out / "lecture" / "logs" / f"{name}.txt"
    shutil.rmtree(folder, ignore_errors=True)  # its list of jobs would grow with each call
    settings = ["threads=1", f"out={out}", f"hydra.sweep.dir={folder}"]
    log.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with log.open("w", encoding="utf-8") as stream:
        code = children.call(python_command("mlbench", "-m", *words.split(), *settings), stream)
    ended = "" if code == 0 else f", exit code {code}: {reason(folder, log)}"
    print(printable(f"{time.monotonic() - began:6.1f} s  mlbench -m {words}{ended}"), file=sys.stderr, flush=True)
    return Sweep(words, folder, code)


def reason(folder: Path, log: Path) -> str:
    """Why a command failed: the message of its first job that did, or the last line that was printed."""
    if (folder / layout.JOBS).exists():
        failures = [job["failure"]["message"] for job in read_jobs(folder) if job["failure"]]
        if failures:
            return failures[0]
    return log.read_text(encoding="utf-8", errors="replace").rstrip().rpartition("\n")[2]


def result_of(claim: Claim, sweeps: list[Sweep]) -> Result:
    """The checks of a claim on what its commands left."""
    failed, runs = [sweep.words for sweep in sweeps if sweep.code], Runs([])
    try:
        runs = read_runs([folder for sweep in sweeps for folder in sweep.folders()])
        checks = claim.decide(runs)
    except (LookupError, OSError, UnreadableRun) as error:
        return Result(claim, sweeps, runs, [], f"{error}; failed: {', '.join(failed) or 'none'}")
    return Result(claim, sweeps, runs, checks, f"failed: {', '.join(failed)}" if failed else "")


def table(results: list[Result]) -> Table:
    """One row a check."""
    shown = Table("claim", "verdict", "what decides", "measured", "seeds", box=None)
    for result in results:
        first = (result.claim.name, result.verdict.value)
        for place, check in enumerate(result.checks):
            shown.add_row(*(first if place == 0 else ("", "")), check.says, str(check.spread), str(check.spread.count))
        if not result.checks:
            shown.add_row(*first, result.trouble)
    return shown
