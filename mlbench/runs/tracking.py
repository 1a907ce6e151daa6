"""Forwards the results of a run to an experiment tracker, whose failures never affect the run."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlbench.core.atomic_io import write_json
from mlbench.core.errors import first_line
from mlbench.core.input_files import open_regular, read_json
from mlbench.runs import layout
from mlbench.runs.loggers.base import Logger, Measurement


class Tracker:
    """Forwards metrics.jsonl up to the last checkpoint of the run, so that a resumed run repeats nothing.

    If the logger fails, `note` warns once and the logger is not used again until the run is resumed.
    """

    def __init__(self, logger: Logger | None, name: str, config: dict[str, Any]):
        self.logger, self.name, self.config = logger, name, config

    def attempt(self, do: Callable[[Logger], None]) -> None:
        """Call `do` with the logger; give the logger up if that fails."""
        if (logger := self.logger) is None:
            return
        try:
            do(logger)
        except Exception as error:
            reason = first_line(error)
            self.note(f"logger={logger.package} failed, the run goes on without it: {reason}")
            self.logger = None
            with suppress(Exception):
                logger.close(False)

    def begin(self, folder: Path, note: Callable[[str], None]) -> None:
        """Start a run of the tracker, or continue the one that the folder names."""
        self.folder, self.note = folder, note
        self.attempt(self.open)

    def open(self, logger: Logger) -> None:
        """The same, for a logger that may fail."""
        path, state = self.folder / layout.TRACKER, {}
        if path.exists():
            state = read_json(path)
        if state.get("logger") != logger.package:
            state = {}
        run = logger.begin(self.folder, self.name, flat(self.config), state.get("run"))
        self.state = {"logger": logger.package, "run": run, "bytes": state.get("bytes", 0)}
        write_json(path, self.state)

    def follow(self, position: int) -> None:
        """Forward the measurements in metrics.jsonl up to `position` (bytes)."""
        self.attempt(lambda logger: self.pass_on(logger, position))

    def pass_on(self, logger: Logger, position: int) -> None:
        """The same, for a logger that may fail."""
        with open_regular(self.folder / layout.METRICS) as file:
            file.seek(self.state["bytes"])
            lines = file.read(position - self.state["bytes"]).splitlines()
        logger.log([measurement(json.loads(line)) for line in lines])
        self.state["bytes"] = position
        write_json(self.folder / layout.TRACKER, self.state)

    def finish(self, position: int, metrics: dict[str, float], costs: dict[str, float]) -> None:
        """Forward the rest of metrics.jsonl, metrics, costs, tables and figures of a finished run."""
        results = {**metrics, **{f"costs/{name}": value for name, value in costs.items()}}

        def do(logger: Logger) -> None:
            self.pass_on(logger, position)
            logger.finish(results, tables_and_figures(self.folder))

        self.attempt(do)

    def close(self, done: bool) -> None:
        """Close the tracker: the run is done, or was interrupted."""
        self.attempt(lambda logger: logger.close(done))


def measurement(line: dict[str, Any]) -> Measurement:
    """Convert a line of metrics.jsonl."""
    name = f"{line['phase']}/{line['split']}/{line['metric']}/task_{line['task']:02d}"
    return Measurement(line["phase"], name, line["step"], line["value"])


def tables_and_figures(folder: Path) -> list[Path]:
    """Return the tables and figures of a finished run."""
    return sorted([*folder.glob("*.csv"), *folder.glob("*.md"), *folder.glob("figures/*.png")])


def flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"train": {"lr": 0.1}}` as `{"train.lr": 0.1}`; lists stay as they are."""
    entries = {}
    for name, value in config.items():
        entries |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return entries
