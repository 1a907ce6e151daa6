"""The two ways a run ends badly, and how a message offers the nearest spelling."""

import difflib
from collections.abc import Iterable
from pathlib import Path


class UserError(Exception):
    """The user's mistake (exit code 2): what is wrong and what is allowed, in one or two lines."""


class RunError(Exception):
    """The run failed (exit code 1): what happened, where, and which setting to try."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C in a run (exit code 130); the folder can be resumed."""

    def __init__(self, folder: Path):
        super().__init__(f"interrupted; go on with: mlbench resume={folder}")


class SettingError(ValueError):
    """A setting out of its range, raised where the setting is declared; `build` adds where it stands in the config."""

    def __init__(self, name: str, value: object, allowed: str):
        super().__init__(f"{name}={value}: allowed is {allowed}")


def require(ok: bool, name: str, value: object, allowed: str) -> None:
    """Raise SettingError unless `ok`; for the `__post_init__` of dataclasses of settings."""
    if not ok:
        raise SettingError(name, value, allowed)


def nearest(word: str, options: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the option spelled most like `word`, or nothing."""
    close = difflib.get_close_matches(word, list(options), n=1, cutoff=0.6)
    return f"; did you mean '{close[0]}'?" if close else ""
