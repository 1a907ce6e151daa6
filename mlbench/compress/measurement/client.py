"""The client of the worker process (worker.py)."""

import json
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from mlbench.core.child_processes import python_command
from mlbench.core.errors import RunError
from mlbench.data.split import Split


class FreshProcess:
    """A worker process that measures networks it knows only from their artefacts; use it as a context manager.

    Args:
        test: The test examples; their device is where the worker computes.
        latency_batch: Examples in a batch whose latency is measured.
        config_dirs: Folders with the modules of the user's own models.
    """

    def __init__(self, test: Split, latency_batch: int, config_dirs: tuple[Path, ...]):
        self.test, self.latency_batch, self.config_dirs = test.with_transform_applied(), latency_batch, config_dirs

    def __enter__(self) -> "FreshProcess":
        self.folder = tempfile.TemporaryDirectory(prefix="mlbench-")
        path = Path(self.folder.name) / "test.pt"
        pictures = torch.cat([self.test.raw(index).cpu() for index in self.test.chunks(1000)])
        torch.save({"pictures": pictures, "labels": self.test.labels.cpu()}, path)
        command = python_command("mlbench.compress.measurement.worker")
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, **pipes, process_group=0)  # a terminal's Ctrl-C is the run's alone
        self.send(
            test=str(path),
            device=str(self.test.labels.device),
            threads=torch.get_num_threads(),
            latency_batch=self.latency_batch,
            config_dirs=[str(folder) for folder in self.config_dirs],
        )
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        if kind is not None:  # nobody waits for the answer
            self.process.kill()
        for stream in (self.process.stdin, self.process.stdout):  # the worker ends with its input
            with suppress(OSError):  # what is left to be written to one that has ended
                stream.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.folder.cleanup()

    def send(self, **message: Any) -> None:
        """Send one line of JSON. Raises RunError where the process has died."""
        try:
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()
        except OSError as error:
            raise RunError("the process that measures has died") from error

    def ask(self, do: str, **arguments: Any) -> Any:
        """Call a method of the worker's `Reader` and return its result.

        Args:
            do: Name of the method.
            **arguments: Its arguments, as JSON can hold them.

        Returns:
            Its result, as JSON can hold it.

        Raises:
            RunError: If the method failed or the process died.
        """
        self.send(do=do, **arguments)
        line = self.process.stdout.readline()
        if not line:
            raise RunError(f"the process that measures died while it was asked for {do}; is there enough memory?")
        answer = json.loads(line)
        if "error" in answer:
            raise RunError(f"measuring failed ({do}): {answer['error']}")
        return answer["answer"]
