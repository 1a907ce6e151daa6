"""Names, defaults and comments of settings, read from YAML files as text and composed as Hydra does."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from mlbench.core.errors import UserError


@dataclass
class Value:
    """A default as it is written, and the comment behind it."""

    default: str
    meaning: str


@dataclass
class Node:
    """A mapping of settings, in the order of the files that give them."""

    target: str = ""
    fields: dict[str, "Value | Node"] = field(default_factory=dict)

    def update(self, other: "Node") -> None:
        """Let `other` override; a value without a comment keeps the meaning that is known."""
        self.target = other.target or self.target
        for name, new in other.fields.items():
            old = self.fields.get(name)
            if isinstance(old, Node) and isinstance(new, Node):
                old.update(new)
            elif isinstance(old, Value) and isinstance(new, Value):
                self.fields[name] = Value(new.default, new.meaning or old.meaning)
            else:
                self.fields[name] = new

    def leaves(self, prefix: str = "") -> Iterator[tuple[str, Value]]:
        """The dotted name of every value, and the value."""
        for name, child in self.fields.items():
            if isinstance(child, Node):
                yield from child.leaves(f"{prefix}{name}.")
            else:
                yield f"{prefix}{name}", child


@dataclass
class Composed:
    """A YAML file with all that its defaults list brings in."""

    node: Node = field(default_factory=Node)
    brings: dict[str, str] = field(default_factory=dict)


def compose(config: str, folders: Sequence[Path]) -> Composed:
    """The file `config` (`lifelong/ewc`) in the first of `folders` that has it, and what it includes.

    Understands what the files of this project use of Hydra's defaults lists: other files, at this place or under a
    name, `override`, `_self_`, and files for the top level (`# @package _global_`).
    """
    text = find(config, folders).read_text(encoding="utf-8")
    tree = yaml.compose(text)
    own = read_mapping(tree, text) if isinstance(tree, yaml.MappingNode) else Node()
    items = (yaml.safe_load(text) or {}).get("defaults", []) if "defaults" in own.fields else []
    own.fields.pop("defaults", None)
    of_top_level = re.search(r"^# *@package +_global_", text, re.MULTILINE) is not None
    found = Composed()
    for item in items if "_self_" in items else [*items, "_self_"]:
        if item != "_self_":
            include(found, item, config.rpartition("/")[0], folders)
        elif of_top_level:
            found.brings |= {name: value.default for name, value in own.leaves()}
        else:
            found.node.update(own)
    return found


def include(found: Composed, item: str | dict[str, str | None], group: str, folders: Sequence[Path]) -> None:
    """Add one item of a defaults list to `found`."""
    key, option = next(iter(item.items())) if isinstance(item, dict) else (item, "")
    if key.startswith("override "):
        found.brings[key.removeprefix("override ").strip().lstrip("/")] = str(option)
        return
    if option is None:
        return
    path, _, place = key.partition("@")
    path = f"{path}/{option}" if option else path
    part = compose(path.lstrip("/") if path.startswith("/") else f"{group}/{path}", folders)
    found.brings |= part.brings
    for name in reversed(place.split(".") if place not in ("", "_here_") else []):
        part.node = Node(fields={name: part.node})
    found.node.update(part.node)


def find(config: str, folders: Sequence[Path]) -> Path:
    """The path of a YAML file. Raises UserError where no folder has it."""
    places = [folder / f"{config}.yaml" for folder in folders]
    for place in places:
        if place.is_file():
            return place
    raise UserError(f"there is no {config}.yaml in {' or '.join(map(str, folders))}")


def read_mapping(tree: yaml.MappingNode, text: str) -> Node:
    """A mapping of a YAML file with its end-of-line comments."""
    node = Node()
    for key, value in tree.value:
        if key.value == "_target_":
            node.target = value.value
        elif isinstance(value, yaml.MappingNode) and not value.flow_style:
            node.fields[key.value] = read_mapping(value, text)
        else:
            written = text[value.start_mark.index : value.end_mark.index].strip()
            rest = text[value.end_mark.index :].partition("\n")[0].strip()
            node.fields[key.value] = Value(written or "null", rest.lstrip("# ") if rest.startswith("#") else "")
    return node
