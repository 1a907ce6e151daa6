"""The two ways a run ends badly, and messages that are alike everywhere: spellings, settings, missing packages."""

import difflib
import importlib
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from mlbench.core.command_line import command, path_setting


class UserError(Exception):
    """The user's mistake (exit code 2): what is wrong and what is allowed, in one or two lines."""


class RunError(Exception):
    """The run failed (exit code 1): what happened, where, and which setting to try."""


class NotFinite(RunError):
    """A loss or weights that are infinite or no numbers."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C in a run (exit code 130); the folder can be resumed, with the folders of the user's own modules."""

    def __init__(self, folder: Path, config_dirs: tuple[Path, ...]):

        own = [word for path in config_dirs for word in ("--config-dir", str(path))]
        words = command("mlbench", *own, path_setting("resume", folder))
        super().__init__(f"interrupted; go on with: {words}")


class SettingError(ValueError):
    """A setting out of its range, raised where the setting is declared; `build` adds where it stands in the config."""

    def __init__(self, name: str, value: object, allowed: str):
        super().__init__(f"{name}={value}: allowed is {allowed}")


def require(ok: bool, name: str, value: object, allowed: str) -> None:
    """Raise SettingError unless `ok`; for the `__post_init__` of dataclasses of settings."""
    if not ok:
        raise SettingError(name, value, allowed)


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its class where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def need(package: str, extra: str, who: str) -> ModuleType:
    """Import a package that the extra `extra` brings. Raises UserError where it, or what it needs, is not installed."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        missing = error.name or package
        raise UserError(
            f"{who} needs the package {missing}, which is not installed; pip install 'mlbench[{extra}]'"
        ) from error


def nearest(word: str, options: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the option spelled most like `word`, in capitals or not, or nothing."""
    known = {option.lower(): option for option in options}
    close = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return f"; did you mean '{known[close[0]]}'?" if close else ""
