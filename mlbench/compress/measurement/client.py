"""Asking the process that measures (worker.py)."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from mlbench.core.errors import RunError
from mlbench.data.split import Split


class FreshProcess:
    """A process that knows networks from their files alone; used as a context manager."""

    def __init__(self, test: Split, latency_batch: int, config_dirs: tuple[Path, ...]):
        self.test, self.latency_batch, self.config_dirs = test.settled(), latency_batch, config_dirs

    def __enter__(self) -> "FreshProcess":
        self.folder = tempfile.TemporaryDirectory(prefix="mlbench-")
        path = Path(self.folder.name) / "test.pt"
        pictures = torch.cat([self.test.raw(index).cpu() for index in self.test.chunks(1000)])
        torch.save({"pictures": pictures, "labels": self.test.labels.cpu()}, path)
        command = [sys.executable, "-m", "mlbench.compress.measurement.worker"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.send(
            test=str(path),
            device=str(self.test.labels.device),
            threads=torch.get_num_threads(),
            latency_batch=self.latency_batch,
            config_dirs=[str(folder) for folder in self.config_dirs],
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()  # the end of its input is its end
        self.process.stdout.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.folder.cleanup()

    def send(self, **message: Any) -> None:
        """One line to the process."""
        try:
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()
        except OSError as error:
            raise RunError("the process that measures has died") from error

    def ask(self, do: str, **given: Any) -> Any:
        """The answer to a request. Raises RunError where it could not be answered."""
        self.send(do=do, **given)
        line = self.process.stdout.readline()
        if not line:
            raise RunError(f"the process that measures died while it was asked for {do}; is there enough memory?")
        answer = json.loads(line)
        if "error" in answer:
            raise RunError(f"measuring failed ({do}): {answer['error']}")
        return answer["answer"]
