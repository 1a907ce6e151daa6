"""A config node (`_target_` and its fields) becomes a checked object.

The class that `_target_` names is the schema: its signature gives the names, types and allowed words of the
fields, its `__post_init__` (or `__init__`) their ranges. Nothing here imports torch.
"""

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mlbench.core.buildable import locate
from mlbench.core.errors import SettingError, UserError, nearest

MOST = 2**63 - 1  # torch takes no whole number above it
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
    A class or a user's own function gets those of the `arguments` that it takes.
    Raises UserError for a target that is not allowed or not of the expected kind, and for unknown or bad fields.
    """
    target = node.get("_target_")
    if not target:
        raise UserError(f"{path}: the field _target_ is missing; it names the class to build")
    cls = locate(target, expected, path, config_dirs)
    fields = {name: node._get_node(name) for name in node if name != "_target_"}
    hints = field_types(cls, exclude=set(arguments), present=fields)
    check_names(fields, hints, path)
    arguments = {name: value for name, value in arguments.items() if takes(cls, name)}
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
        made = cls(**values)
    except SettingError as error:
        raise UserError(f"{path}.{error}") from error
    except (TypeError, ValueError) as error:
        reason = str(error).partition("\nException raised from")[0]  # behind it torch names places in its own code
        raise UserError(f"{path} ({cls.__name__}): {reason}") from error
    if not isinstance(made, expected):
        kind = f"{expected.__module__}.{expected.__name__}"
        raise UserError(f"{path} ({cls.__name__}): returns a {type(made).__name__}, not a {kind}")
    return made


def takes(maker: Callable[..., object], name: str) -> bool:
    """Whether a class or a function has a parameter of this name; of `**any` a class is thought to have all."""
    parameters = inspect.signature(maker).parameters
    anything = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    return name in parameters or (inspect.isclass(maker) and anything)


def settings(node: DictConfig, cls: type[T], path: str) -> T:
    """Make the dataclass of settings `cls` from a node that has no `_target_`. Raises UserError like `build`."""
    fields = {name: node._get_node(name) for name in node}
    values = checked(fields, field_types(cls, exclude=set()), path)
    check_complete(cls, values, path)
    try:
        return cls(**values)
    except SettingError as error:
        raise UserError(f"{path}.{error}" if path else str(error)) from error


def field_types(cls: Callable[..., object], exclude: set[str], present: Iterable[str] = ()) -> dict[str, Any]:
    """Name -> type of what `cls` takes, without the arguments in `exclude`; of `**any` those that are present."""
    parameters = inspect.signature(cls).parameters
    plain = dataclasses.is_dataclass(cls) or not inspect.isclass(cls)
    hints = typing.get_type_hints(cls if plain else cls.__init__)
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
        empty = value is None and allows_null(hints[name])
        if (allowed := choices(hints[name])) and value not in allowed and not empty:
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


def check_complete(cls: Callable[..., object], values: Iterable[str], path: str) -> None:
    """Raise UserError where `cls` needs a field that has no value: taken out by ~name, or not in a user's own YAML."""
    parameters = inspect.signature(cls).parameters.values()
    needed = [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    if missing := [name for name in needed if name not in values]:
        place = f"{path} ({cls.__name__})" if path else cls.__name__
        raise UserError(f"{place}: no value for {', '.join(missing)}")


def choices(hint: object) -> tuple:
    """The allowed words of a Literal, also of one that may be null; empty for other types."""
    parts = [part for part in typing.get_args(hint) if part is not type(None)] if allows_null(hint) else [hint]
    return typing.get_args(parts[0]) if len(parts) == 1 and typing.get_origin(parts[0]) is Literal else ()


def allows_null(hint: object) -> bool:
    """Whether a type is `... | None`."""
    return type(None) in typing.get_args(hint)


@functools.cache
def plain_type(hint: object) -> Any:
    """The type OmegaConf can hold: a Literal becomes the type of its words, an unsupported one Any."""
    if options := choices(hint):
        return type(options[0]) | None if allows_null(hint) else type(options[0])
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
        return "|".join(map(str, choices(hint))) + (" or null" if allows_null(hint) else "")
    options = [option for option in typing.get_args(hint) if option is not type(None)]
    if typing.get_origin(hint) is list:
        return f"a list, each {words(options[0])}" if options else "a list"
    if options:
        parts = [words(option) for option in options]
        return " or ".join(parts) + (" or null" if allows_null(hint) else "")
    return getattr(hint, "__name__", str(hint))
