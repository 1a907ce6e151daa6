"""Weights & Biases, offline unless told otherwise."""

import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mlbench.runs.loggers.base import Logger, Measurement


@dataclass
class WandB(Logger):
    """Runs of `project`. Offline ones lie in `<run>/wandb` until `wandb sync` takes them to a server.

    A run that goes on offline writes another folder there under the same id, which `wandb sync` joins.
    """

    project: str
    mode: Literal["offline", "online"]

    package = "wandb"

    def begin(self, folder: Path, name: str, parameters: dict[str, object], run: str | None) -> str:
        """See `Logger`."""
        import wandb

        self.folder, run_id = folder, run or secrets.token_hex(4)
        quiet = wandb.Settings(silent=True, console="off", x_disable_stats=True, disable_git=True, disable_code=True)
        self.run = wandb.init(
            project=self.project,
            mode=self.mode,
            dir=str(folder),
            id=run_id,
            name=name,
            config=parameters,
            resume="allow" if self.mode == "online" else None,
            settings=quiet,
        )
        self.phases: set[str] = set()
        return run_id

    def log(self, measurements: list[Measurement]) -> None:
        """Each phase counts its own steps; wandb's count what was logged."""
        for each in measurements:
            step_name = f"{each.phase}/step"
            if each.phase not in self.phases:
                self.phases.add(each.phase)
                self.run.define_metric(f"{each.phase}/*", step_metric=step_name)
            self.run.log({each.name: each.value, step_name: each.step})

    def finish(self, results: dict[str, float], files: list[Path]) -> None:
        """See `Logger`."""
        self.run.summary.update(results)
        for path in files:
            place = Path(self.run.dir) / path.relative_to(self.folder)  # what lies there is sent with the run
            place.parent.mkdir(exist_ok=True)
            shutil.copy(path, place)

    def close(self, done: bool) -> None:
        """See `Logger`."""
        self.run.finish(exit_code=0 if done else 1)
