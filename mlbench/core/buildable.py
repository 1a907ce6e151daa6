"""The classes that a `_target_` may name: those of mlbench in conf/, what techniques put around a network, one's own.

A module is imported for a `_target_` only if its class is here, or is one of the user's own: importing a module runs
it, and a `_target_` may stand in a file that somebody else has written.
"""

import importlib
import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

from mlbench.core.config_groups import CHOICES, conf_folder
from mlbench.core.errors import UserError, nearest
from mlbench.core.renamed import PACKAGE, current

# classes that files of networks name, and no config: what a technique has put around a network
WRAPPINGS = (
    "compress.adaptive.exit_network.Exits",
    "lifelong.isolation.progressive.Columns",
    "lifelong.replay.icarl.NearestMean",
)
T = TypeVar("T")
TARGET = re.compile(rf"_target_: *({re.escape(PACKAGE)}[\w.]+)")


@cache
def buildable() -> frozenset[str]:
    """Their full names."""
    texts = [path.read_text(encoding="utf-8") for group in CHOICES for path in (conf_folder() / group).rglob("*.yaml")]
    return frozenset(target for text in texts for target in TARGET.findall(text)) | {
        PACKAGE + name for name in WRAPPINGS
    }


def locate(target: object, expected: type[T], path: str, config_dirs: tuple[Path, ...]) -> Callable[..., T]:
    """The class called `target`: one that is `buildable`, or one from a module beside the user's own config.

    Of the latter a function will do, too, which returns the object. No other module is imported. Raises UserError.
    """
    target = current(str(target))
    module_name, _, name = target.rpartition(".")
    if target not in buildable() and not is_own(module_name, config_dirs):
        raise UserError(f"{path}._target_={target}: {not_buildable(target)}")
    try:
        found = getattr(importlib.import_module(module_name), name)
    except ModuleNotFoundError as error:
        raise UserError(missing_module(error, path, target)) from error
    except AttributeError as error:
        options = [key for key, value in vars(sys.modules[module_name]).items() if callable(value)]
        raise UserError(f"{path}._target_={target}: no such class in {module_name}{nearest(name, options)}") from error
    if not (inspect.isfunction(found) or (inspect.isclass(found) and issubclass(found, expected))):
        raise UserError(f"{path}._target_={target}: not a {expected.__module__}.{expected.__name__}")
    return found


def not_buildable(target: str) -> str:
    """Why no class of this name is built."""
    if not target.startswith(PACKAGE):
        return "only classes of mlbench and of modules beside --config-dir are built"
    module_name, _, name = target.rpartition(".")
    options = [each.rpartition(".")[2] for each in buildable() if each.rpartition(".")[0] == module_name]
    if not options:
        return f"no module {module_name} of classes to build"
    return f"no such class to build in {module_name}{nearest(name, options)}"


def is_own(module_name: str, config_dirs: tuple[Path, ...]) -> bool:
    """Whether Python finds this module, or the package that it is in, in a folder of the user's own.

    One that has been imported before counts by its name: it is not run again.
    """
    package = module_name.partition(".")[0]
    if not any((folder / package).is_dir() or (folder / f"{package}.py").is_file() for folder in config_dirs):
        return False
    if module_name in sys.modules:
        return True
    try:
        spec = importlib.util.find_spec(package)  # of a name without a dot: nothing is imported
    except (ImportError, ValueError):
        return False
    if spec is None:
        return False
    places = [Path(place).resolve() for place in (spec.origin, *(spec.submodule_search_locations or ())) if place]
    return any(place.is_relative_to(folder.resolve()) for place in places for folder in config_dirs)


def own_modules(folder: Path) -> list[Path]:
    """The files of all modules in a folder of the user's own: beside their config, and in packages there."""
    files = []
    for place, inside, names in os.walk(folder):
        inside[:] = filter(str.isidentifier, inside)  # no package lies in .venv, which has many thousands of files
        files += [Path(place, name) for name in names if name.endswith(".py")]
    return sorted(files)


def missing_module(error: ModuleNotFoundError, path: str, target: str) -> str:
    """One line for a module that is not there: a spelling mistake, or an extra that is not installed."""
    if error.name and target.startswith(error.name.partition(".")[0]):
        return f"{path}._target_={target}: no module {error.name}"
    return f"{path}: needs the package {error.name}, which is not installed; pip install 'mlbench[all]' brings it"
