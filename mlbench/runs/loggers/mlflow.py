"""MLflow: a local SQLite file, or a server."""

import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

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

        self.folder, self.client = folder, MlflowClient(database_address(self.uri))
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

        path, place = database_file(self.uri), None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            place = path.resolve().with_suffix("").as_uri()  # a plain path would end at its first # or ?
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


def database_file(uri: str) -> Path | None:
    """The file of `sqlite:///FILE`, whatever letters it has, without options such as `?timeout=5`; None for others."""
    if not uri.startswith("sqlite:///"):
        return None
    path = re.sub(r"\?\w+=[\w.]+(&\w+=[\w.]+)*$", "", uri.removeprefix("sqlite:///"))
    return None if path.startswith("file:") else Path(path)


def database_address(uri: str) -> str:
    """The uri as SQLAlchemy has to be given it: a path with `?` or `#` is one of SQLite's own addresses in it, where
    such letters are written as percentages."""
    path = database_file(uri)
    if path is None or not set(str(path)) & set("?#"):
        return uri
    options = uri.removeprefix(f"sqlite:///{path}").lstrip("?")
    return f"sqlite:///file:{quote(str(path.absolute()))}?" + "&".join(filter(None, (options, "uri=true")))
