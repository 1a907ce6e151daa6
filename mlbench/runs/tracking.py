"""What a run has written goes to a tracker of experiments, too. Nothing that happens there touches the run."""

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlbench.core.atomic_io import write_json
from mlbench.runs import layout
from mlbench.runs.loggers.base import Logger, Measurement


class Tracker:
    """Reads metrics.jsonl up to where the run's checkpoint stands, so that a resumed run repeats nothing.

    A logger that fails is warned of once by `note` and left alone until the run is resumed.
    """

    def __init__(self, logger: Logger | None, name: str, config: dict[str, Any]):
        self.logger, self.name, self.config = logger, name, config

    def attempt(self, do: Callable[[Logger], None]) -> None:
        """Let the logger do something."""
        if (logger := self.logger) is None:
            return
        try:
            do(logger)
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            self.note(f"logger={logger.package} failed, the run goes on without it: {reason}")
            self.logger = None
            with suppress(Exception):
                logger.close(False)

    def begin(self, folder: Path, note: Callable[[str], None]) -> None:
        """Start the run of this folder, or continue the one that the folder names."""
        self.folder, self.note = folder, note
        self.attempt(self.open)

    def open(self, logger: Logger) -> None:
        """The same, for a logger that may fail."""
        path, state = self.folder / layout.TRACKER, {}
        if path.exists():
            state = json.loads(path.read_text(encoding="utf-8"))
        if state.get("logger") != logger.package:
            state = {}
        run = logger.begin(self.folder, self.name, flat(self.config), state.get("run"))
        self.state = {"logger": logger.package, "run": run, "bytes": state.get("bytes", 0)}
        write_json(path, self.state)

    def follow(self, position: int) -> None:
        """Pass on what stands in metrics.jsonl up to `position` (bytes)."""
        self.attempt(lambda logger: self.pass_on(logger, position))

    def pass_on(self, logger: Logger, position: int) -> None:
        """The same, for a logger that may fail."""
        with (self.folder / layout.METRICS).open("rb") as file:
            file.seek(self.state["bytes"])
            lines = file.read(position - self.state["bytes"]).splitlines()
        logger.log([measurement(json.loads(line)) for line in lines])
        self.state["bytes"] = position
        write_json(self.folder / layout.TRACKER, self.state)

    def finish(self, position: int, metrics: dict[str, float], costs: dict[str, float]) -> None:
        """The run is done: the rest of metrics.jsonl, metrics and costs, tables and figures."""
        results = {**metrics, **{f"costs/{name}": value for name, value in costs.items()}}

        def do(logger: Logger) -> None:
            self.pass_on(logger, position)
            logger.finish(results, tables_and_figures(self.folder))

        self.attempt(do)

    def close(self, done: bool) -> None:
        """The run has ended or was interrupted."""
        self.attempt(lambda logger: logger.close(done))


def measurement(line: dict[str, Any]) -> Measurement:
    """A line of metrics.jsonl."""
    name = f"{line['phase']}/{line['split']}/{line['metric']}/task_{line['task']:02d}"
    return Measurement(line["phase"], name, line["step"], line["value"])


def tables_and_figures(folder: Path) -> list[Path]:
    """Of a finished run."""
    return sorted([*folder.glob("*.csv"), *folder.glob("*.md"), *folder.glob("figures/*.png")])


def flat(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"train": {"lr": 0.1}}` as `{"train.lr": 0.1}`; lists stay as they are."""
    entries = {}
    for name, value in config.items():
        entries |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return entries
