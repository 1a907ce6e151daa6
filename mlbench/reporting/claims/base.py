"""A claim, the runs that speak for or against it, and the stated test that decides. Reads only files, no torch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any

from mlbench.core.statistics import Spread, spread
from mlbench.runs import layout
from mlbench.runs.run_reading import read_finished
from mlbench.runs.run_record import RunRecord
from mlbench.runs.run_state import has_content
from mlbench.runs.sweep_log import read_jobs

Settings = Mapping[str, object]  # dotted names of a config, or technique, data, model, family, and their values
ANY: Settings = {}


class Verdict(Enum):
    """What the runs say of a claim."""

    HOLDS = "holds"
    FAILS = "does not hold"
    UNDECIDED = "not decided"


@dataclass(frozen=True)
class Check:
    """A number that a claim says is large or small, measured once per seed.

    The 95 % t interval of the mean decides: the check holds where the whole interval lies on the right side of the
    bound, fails where it lies on the wrong one, and is undecided otherwise. A single value has no interval and decides
    nothing.

    Args:
        says: the statement in words, with the bound in it.
        values: the measurements, one per seed.
        bound: the number that the mean is compared with, in the unit of the values.
        least: whether the mean has to be at least the bound (True) or at most (False).
    """

    says: str
    values: list[float]
    bound: float
    least: bool = True

    @cached_property
    def spread(self) -> Spread:
        """Mean and half the interval."""
        return spread(self.values)

    @property
    def verdict(self) -> Verdict:
        """What the interval says."""
        if self.spread.half is None:
            return Verdict.UNDECIDED
        sign = 1 if self.least else -1
        room = sign * (self.spread.mean - self.bound)
        if room >= self.spread.half:
            return Verdict.HOLDS
        return Verdict.FAILS if room < -self.spread.half else Verdict.UNDECIDED


def combined_verdict(checks: list[Check]) -> Verdict:
    """A claim holds where all of its checks do, and fails where one does; without checks nothing is decided."""
    verdicts = [check.verdict for check in checks]
    if Verdict.FAILS in verdicts:
        return Verdict.FAILS
    return Verdict.HOLDS if verdicts and set(verdicts) == {Verdict.HOLDS} else Verdict.UNDECIDED


Measure = str | Callable[[RunRecord], float]  # a metric or cost, or what a function finds in a run


@dataclass(frozen=True)
class Runs:
    """The finished runs of a claim's experiments."""

    all: list[RunRecord]

    def where(self, settings: Settings) -> "Runs":
        """Those with these settings."""
        return Runs([run for run in self.all if all(run.setting(name) == value for name, value in settings.items())])

    def by_seed(self, measure: Measure, settings: Settings = ANY) -> dict[int, float]:
        """The measure of each run with these settings, by its seed.

        Args:
            measure: the name of a metric or cost, or a function of the run.
            settings: what the runs must have.

        Returns:
            Seed -> value.

        Raises:
            LookupError: no run has these settings, or two of the same seed have them.
        """
        ask = measure if callable(measure) else lambda run: run.value(measure)
        values: dict[int, float] = {}
        for run in self.where(settings).all:
            if run.seed in values:
                raise LookupError(f"two runs of seed {run.seed} have {dict(settings)}")
            values[run.seed] = ask(run)
        if not values:
            raise LookupError(f"no run with {dict(settings)} has finished")
        return values

    def values(self, measure: Measure, settings: Settings = ANY) -> list[float]:
        """The measure of each run with these settings, one value per seed. Raises LookupError as `by_seed` does."""
        return list(self.by_seed(measure, settings).values())

    def options(self, name: str) -> list[Any]:
        """The values that a setting has, in ascending order. Raises LookupError where no run has finished."""
        if not self.all:
            raise LookupError("no run has finished")
        return sorted({run.setting(name) for run in self.all})

    def pairs(self, measure: Measure, one: Settings, other: Settings) -> list[tuple[float, float]]:
        """The measure with the settings of `one` and of `other`, for each seed that both have."""
        first, second = self.by_seed(measure, one), self.by_seed(measure, other)
        return [(first[seed], second[seed]) for seed in first if seed in second]

    def differences(self, measure: Measure, one: Settings, other: Settings) -> list[float]:
        """`one` less `other`, for each seed that both have."""
        return [a - b for a, b in self.pairs(measure, one, other)]

    def ratios(self, measure: Measure, one: Settings, other: Settings) -> list[float]:
        """`one` over `other`, for each seed that both have."""
        return [a / b for a, b in self.pairs(measure, one, other)]


def best_on_other_seeds(options: list[dict[int, float]], best: Callable[..., dict[int, float]] = max) -> list[float]:
    """Choose the best option for each seed on the other seeds.

    A choice made on the seeds that are reported would flatter whatever is chosen.

    Args:
        options: for each option its values by seed.
        best: `max` or `min`.

    Returns:
        For each seed that all options have, in ascending order, the value of the option that is best on average over
        the other seeds.
    """
    seeds = set.intersection(*(set(option) for option in options))
    values = []
    for seed in sorted(seeds):
        others = seeds - {seed}
        values.append(best(options, key=lambda option: sum(option[other] for other in others))[seed])
    return values


def read_runs(folders: list[Path]) -> Runs:
    """The finished ones among these run folders, each once. Raises UnreadableRun for one that cannot be read."""
    there = [folder for folder in dict.fromkeys(folders) if has_content(folder / layout.SUMMARY)]
    return Runs([read_finished(folder)[0] for folder in there])


@dataclass(frozen=True)
class Claim:
    """A statement of a lecture and the experiment that tests it.

    Args:
        name: the claim's name on the command line and of its experiment preset.
        english: the statement in English.
        chinese: the statement in Chinese.
        quick: commands, the words after `mlbench -m`, that use embedded data only.
        full: the same with the real data.
        decide: makes the checks from the finished runs; raises LookupError where runs are missing.
        figures: glob patterns of the figures to show, of all sweeps or of the first run that has any.
        sounds: glob patterns of the sounds to play, of the first run.
    """

    name: str
    english: str
    chinese: str
    quick: tuple[str, ...]
    full: tuple[str, ...]
    decide: Callable[[Runs], list[Check]]
    figures: tuple[str, ...] = ()
    sounds: tuple[str, ...] = ()

    def commands(self, quick: bool) -> tuple[str, ...]:
        """What to run."""
        return self.quick if quick else self.full


@dataclass(frozen=True)
class Sweep:
    """One command that was run.

    Args:
        words: the command, as in `Claim.quick`.
        folder: the folder with the list of its jobs.
        code: its exit code.
    """

    words: str
    folder: Path
    code: int

    def folders(self) -> list[Path]:
        """The folders of its runs; none where the command failed before the first."""
        if not (self.folder / layout.JOBS).exists():
            return []
        return [Path(job["folder"]) for job in read_jobs(self.folder) if job["folder"]]


@dataclass(frozen=True)
class Result:
    """The outcome of a claim.

    Args:
        claim: the statement that was tested.
        sweeps: the commands that were run for it.
        runs: their finished runs.
        checks: the checks on these runs.
        trouble: why the checks could not be made, or which command failed; empty where everything went well.
    """

    claim: Claim
    sweeps: list[Sweep]
    runs: Runs
    checks: list[Check]
    trouble: str = ""

    @property
    def verdict(self) -> Verdict:
        """Of all checks together; nothing is decided where a run failed."""
        return Verdict.UNDECIDED if self.trouble else combined_verdict(self.checks)

    @property
    def seconds(self) -> float:
        """What its runs took, those that other claims share included."""
        return sum(run.value("wall_seconds") for run in self.runs.all)
