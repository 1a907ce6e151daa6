"""MLflow: a local SQLite file, or a server."""

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mlbench.runs.loggers.base import Logger, Measurement

AT_ONCE = 100  # parameters or metrics in one request
LONGEST = 6000  # characters of a parameter
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}  # seven, and two minutes


@dataclass
class MLflow(Logger):
    """Runs of the experiment `experiment` at `uri`; with `sqlite:///FILE`, files go into a folder beside FILE."""

    uri: str
    experiment: str

    package = "mlflow"

    def begin(self, folder: Path, name: str, parameters: dict[str, object], run: str | None) -> str:
        """See `Logger`. A server that does not answer is waited for half a minute, not for several."""
        for variable, value in PATIENCE.items():
            os.environ.setdefault(variable, value)
        from mlflow import MlflowClient
        from mlflow.entities import Param

        self.folder, self.client = folder, MlflowClient(self.uri)
        if run is not None:
            self.run = run
            self.client.update_run(run, status="RUNNING")
            return run
        self.run = self.client.create_run(self.experiment_id(), run_name=name).info.run_id
        entries = [Param(key, str(value)[:LONGEST]) for key, value in parameters.items()]
        for start in range(0, len(entries), AT_ONCE):
            self.client.log_batch(self.run, params=entries[start : start + AT_ONCE])
        return self.run

    def experiment_id(self) -> str:
        """The experiment's, which is made where it is missing."""
        from mlflow.exceptions import MlflowException

        path, place = self.uri.removeprefix("sqlite:///"), None
        if path != self.uri:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            place = str(Path(path).resolve().with_suffix(""))
        if self.client.get_experiment_by_name(self.experiment) is None:
            with suppress(MlflowException):  # another job of the sweep was faster
                self.client.create_experiment(self.experiment, artifact_location=place)
        return self.client.get_experiment_by_name(self.experiment).experiment_id

    def log(self, measurements: list[Measurement]) -> None:
        """See `Logger`."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(each.name, each.value, now, each.step) for each in measurements]
        for start in range(0, len(metrics), AT_ONCE):
            self.client.log_batch(self.run, metrics=metrics[start : start + AT_ONCE])

    def finish(self, results: dict[str, float], files: list[Path]) -> None:
        """See `Logger`."""
        self.log([Measurement("", name, 0, value) for name, value in results.items()])
        for path in files:
            inner = path.parent.relative_to(self.folder).as_posix()
            self.client.log_artifact(self.run, str(path), None if inner == "." else inner)

    def close(self, done: bool) -> None:
        """See `Logger`."""
        self.client.set_terminated(self.run, "FINISHED" if done else "FAILED")
