"""How this project starts Python again, and commands in processes of their own that end together."""

import os
import subprocess
import sys
from concurrent.futures import CancelledError
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import IO

GRACE_SECONDS = 30.0  # between the request to stop and the kill


def python_command(module: str, *words: str) -> list[str]:
    """The command that runs a module of an installed package, or of one in PYTHONPATH.

    `-P` keeps the working directory out of sys.path: with `-m` alone an `inspect.py` that lies there would be imported
    in the place of Python's own. A checkout that is not installed is found by `python_path`.
    """
    return [sys.executable, "-P", "-m", module, *words]


def python_path() -> str:
    """PYTHONPATH for processes that are to import the package that this one has imported.

    A checkout need not be installed, or another one may be: it then comes first. Installed packages need nothing.
    """
    root = Path(__file__).resolve().parents[2]
    known = [each for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each]
    if not (root / "pyproject.toml").is_file() or str(root) in known:
        return os.pathsep.join(known)
    return os.pathsep.join([str(root), *known])


class ChildProcesses:
    """The processes that run now.

    They do not hear the Ctrl-C of a terminal, which reaches whoever started them; that one calls `stop`.
    """

    def __init__(self):
        self.running: set[subprocess.Popen] = set()
        self.ends, self.lock = False, Lock()

    def call(self, words: list[str], output: IO[str]) -> int:
        """Run a command, its output going to a file, and return its exit code. Raises CancelledError after `stop`."""
        with self.lock:
            if self.ends:
                raise CancelledError
            streams = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": subprocess.STDOUT}
            process = subprocess.Popen(words, **streams, process_group=0)
            self.running.add(process)
        try:
            return process.wait()
        finally:
            self.running.discard(process)

    def stop(self) -> None:
        """Terminate all, kill those that do not end in time, and begin no other."""
        with self.lock:
            self.ends = True
        processes = list(self.running)
        for process in processes:
            process.terminate()
        for process in processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(GRACE_SECONDS)
            process.kill()
