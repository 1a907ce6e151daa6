"""How this project starts Python again: another process of its own that runs nothing of the working directory."""

import sys


def python_command(module: str, *words: str) -> list[str]:
    """The command that runs a module of an installed package, or of one in PYTHONPATH.

    `-P` keeps the working directory out of sys.path: with `-m` alone an `inspect.py` that lies there would be imported
    in the place of Python's own.
    """
    return [sys.executable, "-P", "-m", module, *words]
