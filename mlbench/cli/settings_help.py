"""The settings of everything there is to choose, read without importing any of it.

The YAML files give names, defaults and, in their comments, meanings. The class that `_target_` names gives types and
allowed words by its annotations, and ranges by the `require` calls of its `__post_init__`; it is parsed, never
executed, so that no torch is needed. `mlbench help lifelong=ewc` prints what is found, the manual makes tables of it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from mlbench.cli.class_source import Sources
from mlbench.cli.suggestions import instead_of_choice
from mlbench.cli.yaml_settings import Node, compose, find, read_mapping
from mlbench.core.config_groups import GROUPS, conf_folder, entries, first_comment
from mlbench.core.errors import UserError, nearest

CONFIG, TRAIN = (
    "mlbench.experiment.checked_config.Settings",
    "mlbench.training.optimizer.Training",
)  # classes that no _target_ names


@dataclass(frozen=True)
class Setting:
    """One setting: `kind` is its type in words, `allowed` its words or range ("" where the type says all)."""

    name: str
    default: str
    meaning: str
    kind: str
    allowed: str

    @property
    def values(self) -> str:
        """Type and range in one phrase."""
        kind = self.kind.removesuffix(" or null") if "null" in self.allowed else self.kind
        return self.allowed if "|" in self.kind else ", ".join(filter(None, (kind, self.allowed)))


@dataclass(frozen=True)
class Entry:
    """One choice of a group; `brings` are the settings elsewhere that choosing it changes."""

    group: str
    name: str
    what: str
    target: str
    description: str
    settings: list[Setting]
    brings: dict[str, str]

    @property
    def summary(self) -> str:
        """The first paragraph of the class's docstring, in one line."""
        return " ".join(self.description.partition("\n\n")[0].split())


# ---------------------------------------------------------------- the YAML files


# ---------------------------------------------------------------- the classes


# ---------------------------------------------------------------- both together


def describe(group: str, name: str, own: Sequence[Path] = ()) -> Entry:
    """All about the choice `group=name`, also from the user's folders `own`. Raises UserError where it is not there."""
    folders = [conf_folder(), *own]
    found = compose(f"{group}/{name}", folders)
    target = found.node.target or (TRAIN if group == "train" else "")
    sources = Sources(own)
    return Entry(
        group,
        name,
        first_comment(find(f"{group}/{name}", folders)),
        target,
        sources.description(target),
        list(settings(found.node, target, sources)),
        found.brings,
    )


def top_level() -> list[Setting]:
    """The settings of a run that are in no group."""
    path = conf_folder() / "config.yaml"
    text = path.read_text(encoding="utf-8")
    node = read_mapping(yaml.compose(text), text)
    for name in ("defaults", "hydra"):
        del node.fields[name]
    return list(settings(node, CONFIG, Sources()))


def settings(node: Node, target: str, sources: Sources, prefix: str = "") -> Iterator[Setting]:
    """The settings of a node and of the nodes inside it."""
    kinds, ranges = sources.kinds(target), sources.ranges(target)
    for name, child in node.fields.items():
        if isinstance(child, Node):
            for inner in settings(child, child.target, sources, f"{prefix}{name}."):
                told = ranges.get(inner.name.removeprefix(prefix), "")
                yield Setting(**vars(inner) | {"allowed": "; ".join(filter(None, (inner.allowed, told)))})
            continue
        kind = kinds.get(name, "")
        default = "" if child.default == "???" else child.default
        meaning = "" if child.meaning == kind else child.meaning
        allowed = "; ".join(filter(None, (kind if "|" in kind else "", ranges.get(name, ""))))
        yield Setting(f"{prefix}{name}", default, meaning, kind, allowed)


# ---------------------------------------------------------------- the terminal


def show_settings(word: str, own: Sequence[Path] = ()) -> None:
    """Print what there is to set with `group=name`. Raises UserError for a misspelt group or name."""
    group, _, name = word.partition("=")
    if group not in GROUPS:
        raise UserError(f"no group called {group}{nearest(group, GROUPS)}\nthere are: {', '.join(GROUPS)}")
    there = [each for folder in (conf_folder(), *own) for each in entries(group, folder)]
    if name not in there:
        hint = instead_of_choice(group, name, there, own)
        raise UserError(f"{word}: there is no such {group}{hint}\nthere are: {', '.join(there)}")
    show(describe(group, name, own))


def show(entry: Entry) -> None:
    """An entry as a table on standard output."""
    from rich.table import Table
    from rich.text import Text

    from mlbench.core.plain_console import PlainConsole

    console = PlainConsole()
    console.print(Text.assemble((f"{entry.group}={entry.name}", "bold"), f"  {entry.what}"))
    if entry.summary:
        console.print(f"\n{entry.summary}")
    if entry.settings:
        table = Table("setting", "default", "meaning", "allowed", box=None, padding=(0, 2, 0, 0))
        for each in entry.settings:
            full = each.name if entry.group == "experiment" else f"{entry.group}.{each.name}"
            table.add_row(full, each.default or "(give one)", each.meaning, each.values)
        console.print()
        console.print(table)
    if entry.brings:
        brings = " ".join(f"{name}={value}" for name, value in entry.brings.items())
        console.print(f"\nAlso sets, unless the command says otherwise: {brings}")
