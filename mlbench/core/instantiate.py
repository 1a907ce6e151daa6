"""A config node (`_target_` and its fields) becomes a checked object.

The class that `_target_` names is the schema: its signature gives the names, types and allowed words of the
fields, its `__post_init__` (or `__init__`) their ranges. Nothing here imports torch.
"""

import dataclasses
import importlib
import importlib.util
import inspect
import os
import sys
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mlbench.core.buildable import buildable
from mlbench.core.errors import SettingError, UserError, nearest
from mlbench.core.input_files import check_plain
from mlbench.core.renamed import PACKAGE, current

MOST = 2**63 - 1  # torch takes no whole number above it
MOST_VALUES = 2**12  # of a node that describes a network in a file: some ten, and OmegaConf is slow
T = TypeVar("T")


@dataclasses.dataclass
class Blueprint:
    """A config node that its owner builds later, as often as needed: a teacher, a student."""

    node: DictConfig
    path: str
    config_dirs: tuple[Path, ...]

    def build(self, expected: type[T], **arguments: object) -> T:
        """A fresh object, as `build` makes it."""
        return build(self.node, expected, self.path, self.config_dirs, **arguments)


def build(node: DictConfig, expected: type[T], path: str, config_dirs: tuple[Path, ...] = (), **arguments: object) -> T:
    """Make the object that `node` describes.

    `expected` is the class it must descend from; `path` the node's place in the config, for messages; `arguments`
    are those that the config does not hold (a model's input shape). Fields that are nodes themselves are built first,
    unless the class takes a Blueprint there.
    Raises UserError for a target that is not allowed or not of the expected kind, and for unknown or bad fields.
    """
    target = node.get("_target_")
    if not target:
        raise UserError(f"{path}: the field _target_ is missing; it names the class to build")
    cls = locate(target, expected, path, config_dirs)
    fields = {name: node._get_node(name) for name in node if name != "_target_"}
    hints = field_types(cls, exclude=set(arguments), present=fields)
    check_names(fields, hints, path)
    parts: dict[str, Any] = {}
    for name, child in list(fields.items()):
        if isinstance(child, DictConfig) and not child._is_none() and "_target_" in child:
            hint = hints.pop(name)
            if not inspect.isclass(hint) or hint.__module__ == "builtins":
                raise UserError(f"{path}.{name}: takes {words(hint)}, not something to build")
            if hint is Blueprint:
                parts[name] = Blueprint(child, f"{path}.{name}", config_dirs)
            else:
                parts[name] = build(child, hint, f"{path}.{name}", config_dirs)
            del fields[name]
    values = {**arguments, **parts, **checked(fields, hints, path)}
    check_complete(cls, values, path)
    try:
        return cls(**values)
    except SettingError as error:
        raise UserError(f"{path}.{error}") from error
    except (TypeError, ValueError) as error:
        reason = str(error).partition("\nException raised from")[0]  # behind it torch names places in its own code
        raise UserError(f"{path} ({cls.__name__}): {reason}") from error


def settings(node: DictConfig, cls: type[T], path: str) -> T:
    """Make the dataclass of settings `cls` from a node that has no `_target_`. Raises UserError like `build`."""
    fields = {name: node._get_node(name) for name in node}
    values = checked(fields, field_types(cls, exclude=set()), path)
    check_complete(cls, values, path)
    try:
        return cls(**values)
    except SettingError as error:
        raise UserError(f"{path}.{error}" if path else str(error)) from error


def locate(target: object, expected: type, path: str, config_dirs: tuple[Path, ...]) -> type:
    """The class called `target`: one that is `buildable`, or one from a module beside the user's own config.

    No other module is imported. Raises UserError.
    """
    target = current(str(target))
    module_name, _, name = target.rpartition(".")
    if target not in buildable() and not is_own(module_name, config_dirs):
        raise UserError(f"{path}._target_={target}: {not_buildable(target)}")
    try:
        cls = getattr(importlib.import_module(module_name), name)
    except ModuleNotFoundError as error:
        raise UserError(missing_module(error, path, target)) from error
    except AttributeError as error:
        options = [key for key, value in vars(sys.modules[module_name]).items() if inspect.isclass(value)]
        raise UserError(f"{path}._target_={target}: no such class in {module_name}{nearest(name, options)}") from error
    if not (inspect.isclass(cls) and issubclass(cls, expected)):
        raise UserError(f"{path}._target_={target}: not a {expected.__module__}.{expected.__name__}")
    return cls


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


def plain_node(value: object, where: str, most: int = MOST_VALUES) -> DictConfig:
    """The config node of plain values that come from a file, in which nothing is left to be resolved.

    Args:
        value: Nested dicts and lists of plain values.
        where: What messages call it.
        most: How many values it may have.

    Raises:
        UserError: For what is no mapping of plain values, has more of them, or holds an interpolation, which could
            read the environment.
    """
    try:
        check_plain(value, most)
    except ValueError as error:
        raise UserError(f"{where} is not made of plain values ({error})") from error
    if not isinstance(value, dict):
        raise UserError(f"{where} is not a mapping of names and values")
    if found := next(interpolations(value), None):
        raise UserError(f"{where} holds the interpolation {found[0]}={found[1]}; none is resolved in a file")
    return OmegaConf.create(value)


def interpolations(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """(dotted name, text) of every text with an interpolation in nested dicts and lists."""
    if isinstance(value, str) and "${" in value:
        yield path, value
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in parts:
        yield from interpolations(part, f"{path}.{name}" if path else str(name))


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


def field_types(cls: type, exclude: set[str], present: Iterable[str] = ()) -> dict[str, Any]:
    """Name -> type of what `cls` takes, without the arguments in `exclude`; of `**any` those that are present."""
    parameters = inspect.signature(cls).parameters
    hints = typing.get_type_hints(cls if dataclasses.is_dataclass(cls) else cls.__init__)
    types = {}
    for name, parameter in parameters.items():
        names = present if parameter.kind is parameter.VAR_KEYWORD else [name]
        types |= {each: hints.get(name, Any) for each in names if each not in exclude and each not in types}
    return types


def checked(fields: dict[str, Any], hints: dict[str, Any], path: str) -> dict[str, Any]:
    """The plain values of `fields`, converted to the types in `hints`; UserError for a name or type that is wrong."""
    prefix = f"{path}." if path else ""
    check_names(fields, hints, path)
    schema = dataclasses.make_dataclass(
        "Schema", [(name, plain_type(hints[name]), dataclasses.field(default="???")) for name in fields]
    )
    config = OmegaConf.structured(schema)
    for name, node in fields.items():
        value = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node._value()
        if isinstance(value, str) and "${" in value:
            value = node._get_parent()[name]
        if value == "???":
            raise UserError(f"{prefix}{name} has no value yet; give one, as in {prefix}{name}=...")
        if any(isinstance(part, int) and abs(part) > MOST for part in (value if isinstance(value, list) else [value])):
            raise UserError(f"{prefix}{name}={value}: allowed are whole numbers of 64 bits, up to {MOST}")
        try:
            config[name] = value
        except OmegaConfBaseException as error:
            raise UserError(f"{prefix}{name}={value}: must be {words(hints[name])}") from error
        if (allowed := choices(hints[name])) and value not in allowed:
            hint = nearest(str(value), [str(option) for option in allowed])
            raise UserError(f"{prefix}{name}={value}: allowed is {words(hints[name])}{hint}")
    return {
        name: OmegaConf.to_object(config[name]) if OmegaConf.is_config(config[name]) else config[name]
        for name in fields
    }


def check_names(fields: dict[str, Any], hints: dict[str, Any], path: str) -> None:
    """Raise UserError for a field that the class does not take."""
    for name in fields:
        if name not in hints:
            place = f"{path}.{name}" if path else name
            allowed = ", ".join(sorted(hints)) or "none"
            raise UserError(f"{place}: no such setting{nearest(f'{name}', hints)}\nallowed here: {allowed}")


def check_complete(cls: type, values: Iterable[str], path: str) -> None:
    """Raise UserError where `cls` needs a field that has no value: taken out by ~name, or not in a user's own YAML."""
    parameters = inspect.signature(cls).parameters.values()
    needed = [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    if missing := [name for name in needed if name not in values]:
        place = f"{path} ({cls.__name__})" if path else cls.__name__
        raise UserError(f"{place}: no value for {', '.join(missing)}")


def choices(hint: object) -> tuple:
    """The allowed words of a Literal, empty for other types."""
    return typing.get_args(hint) if typing.get_origin(hint) is Literal else ()


def plain_type(hint: object) -> Any:
    """The type OmegaConf can hold: a Literal becomes the type of its words, an unsupported one Any."""
    if options := choices(hint):
        return type(options[0])
    try:
        OmegaConf.structured(dataclasses.make_dataclass("Probe", [("field", hint, dataclasses.field(default="???"))]))
    except OmegaConfBaseException:
        return Any
    return hint


def words(hint: object) -> str:
    """A type as a person would say it."""
    plain = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    if hint in plain:
        return plain[hint]
    if choices(hint):
        return "|".join(str(option) for option in choices(hint))
    options = [option for option in typing.get_args(hint) if option is not type(None)]
    if typing.get_origin(hint) is list:
        return f"a list, each {words(options[0])}" if options else "a list"
    if options:
        parts = [words(option) for option in options]
        return " or ".join(parts) + (" or null" if type(None) in typing.get_args(hint) else "")
    return getattr(hint, "__name__", str(hint))
