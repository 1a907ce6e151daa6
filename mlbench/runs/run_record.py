"""A finished run as its folder tells it: the one object that tables, reports and claims read. No torch."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from mlbench.runs.run_tables import Rows, attempt, is_measurement, valid_rows
from mlbench.runs.settings import NOT_SETTINGS, flatten


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
        """The rows of one of its tables; none where it has no such table. Raises UnreadableRun."""
        path = self.folder / table
        return attempt(path, valid_rows) if path.exists() else []


def number(row: dict[str, str], column: str) -> float | None:
    """A cell as a measurement; None where there is none, or where an older run has no such column."""
    try:
        value = float(row.get(column) or "nan")
    except ValueError:
        return None
    return value if is_measurement(value) else None
