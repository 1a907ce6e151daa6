"""A finished run as its folder tells it: the one object that tables, reports and claims read. No torch."""

import json
import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from mlbench.core.atomic_io import read_rows
from mlbench.core.errors import UserError
from mlbench.runs import layout
from mlbench.runs.settings import NOT_SETTINGS, flatten, with_current_targets

# libyaml's reader is ten times faster, and not on every machine
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
IDENTITY = ("family", "data", "model")
Rows = list[dict[str, str]]  # of a table: column -> cell


@dataclass
class RunRecord:
    """A finished run.

    Args:
        folder: where it lies.
        summary: the content of its summary.json.
        config: the content of its config.yaml; empty where that is missing.
        label: what distinguishes it from the other runs of its sweep.
        ended: when it ended, in ISO format; empty where that is not known.
    """

    folder: Path
    summary: dict[str, Any]
    config: dict[str, Any] = field(default_factory=dict)
    label: str = ""
    ended: str = ""

    @property
    def family(self) -> str:
        """`lifelong`, `compress`, `explain` or `plain`."""
        return str(self.summary["family"])

    @property
    def technique(self) -> str:
        """The technique's name, `plain` for none."""
        return str(self.summary["technique"] or "plain")

    @property
    def data(self) -> str:
        """The name of the dataset or stream."""
        return str(self.summary["data"])

    @property
    def model(self) -> str:
        """The name of the architecture."""
        return str(self.summary["model"])

    @property
    def seed(self) -> int:
        """What pairs it with runs of other settings."""
        return int(self.summary["seed"])

    @property
    def kind(self) -> str:
        """Only runs of one kind are compared with one another."""
        return str(self.summary.get("kind", ""))

    @property
    def metrics(self) -> dict[str, float]:
        """Metric -> value."""
        return self.summary["metrics"]

    @property
    def costs(self) -> dict[str, float]:
        """Cost -> value: seconds, bytes and counts, as its name says."""
        return self.summary["costs"]

    @property
    def headlines(self) -> dict[str, str]:
        """Metrics that tables show -> their good end: `high`, `low` or none."""
        return self.summary.get("headlines", {})

    @property
    def tables_schema(self) -> int:
        """The schema of its tables; runs made before there were several have the first."""
        return self.summary.get("tables_schema", 1)

    @property
    def minute(self) -> str:
        """When it ended, for people."""
        return self.ended[:16].replace("T", " ")

    @cached_property
    def flat(self) -> dict[str, str]:
        """The settings that decide what comes out: dotted name -> value as text; null ones are left out."""
        return {"technique": self.technique, "model": self.model, **flatten(self.config, NOT_SETTINGS)}

    def setting(self, name: str) -> object:
        """A value of the config by its dotted name, or one of the summary's; None where there is none."""
        if name in self.summary:
            return self.summary[name]
        value: Any = self.config
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return value

    def value(self, name: str) -> float:
        """A metric or a cost. Raises KeyError."""
        return {**self.costs, **self.metrics}[name]

    def rows(self, table: str) -> Rows:
        """The rows of one of its tables; none where it has no such table. Raises OSError, ValueError, csv.Error."""
        return read_rows(self.folder / table)


def number(row: dict[str, str], column: str) -> float | None:
    """A cell as a finite number; None where there is none, or where an older run has no such column."""
    try:
        value = float(row.get(column) or "nan")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def read_run(folder: Path, label: str = "") -> RunRecord | None:
    """The run of a folder; None when it has not finished.

    Raises:
        UserError: summary.json is broken.
        OSError, yaml.YAMLError: config.yaml cannot be read.
    """
    summary = read_summary(folder)
    return None if summary is None else RunRecord(folder, summary, read_config(folder / layout.CONFIG), label)


def read_summary(folder: Path) -> dict[str, Any] | None:
    """summary.json of a run folder; None when the run has not finished. Raises UserError when it is broken."""
    path = folder / layout.SUMMARY
    if not path.exists():
        return None
    try:
        return read_json(path)
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error})") from error


def read_config(path: Path) -> Any:
    """A run's config.yaml as plain values, each `_target_` as it is spelled today. Raises OSError or yaml.YAMLError."""
    return with_current_targets(yaml.load(path.read_text(encoding="utf-8"), Loader=Loader))


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises OSError or ValueError."""
    return json.loads(path.read_text(encoding="utf-8"))


def validate(run: RunRecord) -> RunRecord:
    """The same run, without numbers that are not finite. Raises ValueError, KeyError or TypeError for a broken one."""
    if (schema := run.summary["schema"]) != layout.SCHEMA:
        raise ValueError(f"schema {schema} is not known here")
    if run.tables_schema > layout.TABLES_SCHEMA:
        raise ValueError(f"tables of schema {run.tables_schema} are not known here")
    own = {name: str(run.summary[name]) for name in IDENTITY}
    own |= {"technique": run.technique, "seed": run.seed, "headlines": dict(run.headlines)}
    return RunRecord(run.folder, {**run.summary, **own, **{name: finite(run.summary[name]) for name in NUMBERS}})


NUMBERS = ("metrics", "costs")


def finite(values: dict[str, Any]) -> dict[str, float]:
    """Those that are finite numbers."""
    return {name: value for name, value in values.items() if isinstance(value, int | float) and math.isfinite(value)}
