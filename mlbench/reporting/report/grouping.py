"""Runs that differ only in their seed are one setting; settings on the same data are compared with one another."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from mlbench.core.config_groups import FAMILIES
from mlbench.core.statistics import Spread, spread
from mlbench.reporting.aggregate import headlines
from mlbench.runs.run_record import RunRecord

DataSettings = tuple[tuple[str, str], ...]  # (dotted name, value), in order
NOTHING = ("[]", "null")  # values that stand for a setting that is not given


@dataclass
class Setting:
    """Runs alike in everything but their seed, the newest of each seed; what differs from others is in the label."""

    runs: dict[int, RunRecord]
    flat: dict[str, str]  # dotted name -> value
    set_labels: str = ""
    spreads: dict[str, Spread] = field(default_factory=dict)

    @property
    def first(self) -> RunRecord:
        """The run of the lowest seed: what is shown of only one run is shown of this."""
        return self.runs[min(self.runs)]

    def values(self, metric: str) -> dict[int, float]:
        """Seed -> the metric, where a run has it."""
        numbers_of = {seed: {**run.costs, **run.metrics} for seed, run in sorted(self.runs.items())}
        return {seed: numbers[metric] for seed, numbers in numbers_of.items() if metric in numbers}


@dataclass
class Comparison:
    """Settings of one family on the same data that are measured by the same metrics, the best first."""

    family: str
    data: str
    kind: str
    settings: list[Setting]
    metrics: dict[str, str]  # the headlines, and the good end of each: `high`, `low` or none
    variant: str = ""  # what tells its data from other data of that name, as in `path=b.npz`

    @property
    def title(self) -> str:
        """What is compared."""
        return " · ".join(filter(None, (self.family, self.data.replace("_", " "), self.variant, self.kind)))

    @property
    def name(self) -> str:
        """The title as an anchor."""
        variant = hashlib.sha256(self.variant.encode()).hexdigest()[:8] if self.variant else ""
        return "-".join(filter(None, (self.family, self.data, variant, self.kind.replace(" ", "-"))))


def compare(runs: Iterable[RunRecord]) -> tuple[list[Comparison], list[RunRecord]]:
    """Group runs into settings, and settings into comparisons.

    Args:
        runs: finished runs of any family.

    Returns:
        The comparisons in the order of their families, and the runs that are not counted because a newer one has the
        same setting and seed.
    """
    groups: dict[tuple[str, str, str, DataSettings], dict[str, Setting]] = defaultdict(dict)
    repeated = []
    for run in runs:
        key = json.dumps(run.flat, sort_keys=True) if run.config else str(run.folder)
        setting = groups[run.family, run.data, run.kind, data_settings(run)].setdefault(key, Setting({}, run.flat))
        other = setting.runs.get(run.seed)
        if other is not None:
            repeated.append(min(run, other, key=lambda one: one.ended))
            run = max(run, other, key=lambda one: one.ended)
        setting.runs[run.seed] = run
    order = sorted(groups, key=lambda key: (FAMILIES.index(key[0]) if key[0] in FAMILIES else len(FAMILIES), key))
    return [comparison(*key[:3], variant(key, order), list(groups[key].values())) for key in order], repeated


def data_settings(run: RunRecord) -> DataSettings:
    """All that is set of a run's data: only runs on equal data can be compared."""
    own = {name: value for name, value in run.flat.items() if name.startswith("data.") and "_target_" not in name}
    return tuple(sorted((name, value) for name, value in own.items() if value not in NOTHING))


def variant(key: tuple[str, str, str, DataSettings], keys: list[tuple[str, str, str, DataSettings]]) -> str:
    """What is not the same in all data of one name that are otherwise compared alike; empty where there is one only."""
    alike = [dict(other[3]) for other in keys if other[:3] == key[:3]]
    own = dict(key[3])
    given = {name for each in alike for name in each}
    names = sorted(name for name in given if len({each.get(name) for each in alike}) > 1)
    return " ".join(f"{name.removeprefix('data.')}={own.get(name, 'null')}" for name in names)


def comparison(family: str, data: str, kind: str, variant: str, settings: list[Setting]) -> Comparison:
    """Settings with labels and spreads, in the order of their first headline metric that has a good end."""
    for setting in settings:
        numbers = {name for run in setting.runs.values() for name in (*run.metrics, *run.costs)}
        setting.spreads = {name: spread(list(setting.values(name).values())) for name in sorted(numbers)}
    set_labels(settings)
    metrics = headlines(run for setting in settings for run in setting.runs.values())
    first = next((name for name, end in metrics.items() if end), None)
    sign = -1 if metrics.get(first) == "high" else 1
    settings.sort(key=lambda one: (first not in one.spreads, sort_value(one, first, sign), one.label))
    return Comparison(family, data, kind, settings, metrics, variant)


def sort_value(setting: Setting, metric: str | None, sign: int) -> float:
    """The mean of the metric times `sign`, which makes a smaller one the better."""
    return sign * setting.spreads[metric].mean if metric in setting.spreads else 0.0


def set_labels(settings: list[Setting]) -> None:
    """Name each setting by its technique and by what is not the same in all settings with that technique."""
    alike = defaultdict(list)
    for setting in settings:
        alike[setting.first.technique].append(setting)
    models = {setting.first.model for setting in settings}
    for technique, own in alike.items():
        names = sorted({name for one in own for name in one.flat} - {"technique", "model"})
        varying = [name for name in names if len({one.flat.get(name) for one in own}) > 1]
        if len({one.first.model for one in own}) > 1:  # another model: its size is its own affair
            varying = [name for name in varying if not name.startswith("model.")]
        for one in own:
            words = [f"{name.removeprefix(f'{one.first.family}.')}={one.flat.get(name, 'null')}" for name in varying]
            words = [word for word in words if "_target_" not in word]
            one.label = " ".join([technique, *([one.first.model] if len(models) > 1 else []), *words])


def differences(one: Setting, other: Setting) -> set[str]:
    """The settings in which two differ; a technique, model or data of another kind counts as one."""
    family = one.first.family
    names = {name for name in one.flat.keys() | other.flat.keys() if one.flat.get(name) != other.flat.get(name)}
    for node, identity in ((family, "technique"), ("model", "model"), ("data", "data._target_")):
        if identity in names or f"{node}._target_" in names:
            names = {name for name in names if name != identity and not name.startswith(f"{node}.")} | {node}
    return names


def common_settings(settings: list[Setting]) -> dict[str, str]:
    """The settings that all of these have in common."""
    first, *rest = settings
    return {name: value for name, value in first.flat.items() if all(one.flat.get(name) == value for one in rest)}
