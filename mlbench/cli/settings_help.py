"""The settings of everything there is to choose, read without importing any of it.

The YAML files give names, defaults and, in their comments, meanings. The class that `_target_` names gives types and
allowed words by its annotations, and ranges by the `require` calls of its `__post_init__`; it is parsed, never
executed, so that no torch is needed. `mlbench help lifelong=ewc` prints what is found, the manual makes tables of it.
"""

import ast
import functools
import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

import mlbench
from mlbench.core.config_groups import GROUPS, conf_folder, entries, first_comment
from mlbench.core.errors import UserError, nearest

CONFIG, TRAIN = (
    "mlbench.experiment.checked_config.Settings",
    "mlbench.training.optimizer.Training",
)  # classes that no _target_ names
PACKAGES = ("mlbench", "hydra_plugins")  # read from beside this package; all others only from the user's folders
TYPES = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text", "Any": ""}


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


# ---------------------------------------------------------------- the classes


@dataclass(frozen=True, eq=False)
class Module:
    """A parsed Python file: where its imported names come from, and what it assigns and defines itself."""

    imports: dict[str, tuple[str, str]]
    values: dict[str, ast.expr]
    classes: dict[str, ast.ClassDef]


@functools.cache
def parse(path: Path) -> Module:
    """Read a Python file."""
    imports, values, classes = {}, {}, {}
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        match statement:
            case ast.ImportFrom(module=str(module), names=names):
                imports |= {each.asname or each.name: (module, each.name) for each in names}
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                values[name] = value
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                values[name] = value
            case ast.ClassDef(name=name):
                classes[name] = statement
    return Module(imports, values, classes)


class Sources:
    """The Python files of this package and of the user's folders, found by the names of modules."""

    def __init__(self, own: Sequence[Path] = ()):
        self.own = own

    def module(self, name: str) -> Module | None:
        """The module called `name`; None for one of another package."""
        ours = [Path(mlbench.__file__).resolve().parents[1]] if name.partition(".")[0] in PACKAGES else []
        for folder in (*ours, *self.own):
            path = folder.joinpath(*name.split("."))
            for place in (path.with_suffix(".py"), path / "__init__.py"):
                if place.is_file():
                    return parse(place)
        return None

    def define(self, module: Module, name: str) -> tuple[Module, ast.ClassDef | ast.expr] | None:
        """What `name` means in a module, followed through imports."""
        if found := module.classes.get(name) or module.values.get(name):
            return module, found
        origin, original = module.imports.get(name, ("", ""))
        there = self.module(origin) if origin else None
        return self.define(there, original) if there else None

    def base(self, module: Module, base: ast.expr) -> tuple[Module, ast.ClassDef | ast.expr] | None:
        """What a base class written as `Name` or `module.Name` is."""
        match base:
            case ast.Name(id=name):
                return self.define(module, name)
            case ast.Attribute(value=ast.Name(id=name), attr=attribute) if name in module.imports:
                there = self.module(".".join(module.imports[name]))
                return self.define(there, attribute) if there else None
        return None

    def ancestry(self, target: str) -> list[tuple[Module, ast.ClassDef]]:
        """The class called `target` behind all classes it inherits from; empty for one of another package."""
        place, _, name = target.rpartition(".")
        module = self.module(place) if place else None
        found = self.define(module, name) if module else None
        return self.with_bases(*found) if found and isinstance(found[1], ast.ClassDef) else []

    def with_bases(self, module: Module, cls: ast.ClassDef) -> list[tuple[Module, ast.ClassDef]]:
        """`cls` behind its bases, those that matter most last, as dataclasses collect their fields."""
        line: list[tuple[Module, ast.ClassDef]] = []
        for base in reversed(cls.bases):
            found = self.base(module, base)
            if found and isinstance(found[1], ast.ClassDef):
                line += [each for each in self.with_bases(found[0], found[1]) if each not in line]
        return [*line, (module, cls)]

    def description(self, target: str) -> str:
        """The docstring of a class."""
        line = self.ancestry(target)
        return inspect.cleandoc(ast.get_docstring(line[-1][1]) or "") if line else ""

    def attribute(self, target: str, name: str) -> object:
        """A constant in the body of a class or of one it inherits from; None where there is none."""
        found = None
        for _, cls in self.ancestry(target):
            for statement in cls.body:
                match statement:
                    case (
                        ast.Assign(targets=[ast.Name(id=given)], value=value)
                        | ast.AnnAssign(target=ast.Name(id=given), value=ast.expr() as value)
                    ) if given == name:
                        found = literal(value)
        return found

    def kinds(self, target: str) -> dict[str, str]:
        """Name -> type in words of each field of a dataclass, or argument of another class."""
        line, found = self.ancestry(target), {}
        for module, cls in line:
            if any("dataclass" in ast.unparse(each) for each in cls.decorator_list):
                fields = [each for each in cls.body if isinstance(each, ast.AnnAssign)]
                hints = {each.target.id: each.annotation for each in fields if isinstance(each.target, ast.Name)}
            else:
                hints = {each.arg: each.annotation for init in methods(cls, "__init__") for each in arguments(init)}
            found |= {name: self.words(hint, module) for name, hint in hints.items() if hint}
        return found

    def words(self, hint: ast.expr, module: Module) -> str:
        """A type as a person would say it."""
        match hint:
            case ast.Constant(value=None):
                return "null"
            case ast.Name(id=name) if name in TYPES:
                return TYPES[name]
            case ast.Name(id=name):
                found = self.define(module, name)
                return self.words(found[1], found[0]) if found and isinstance(found[1], ast.expr) else name
            case ast.BinOp(left=left, right=right):
                return f"{self.words(left, module)} or {self.words(right, module)}"
            case ast.Subscript(value=ast.Name(id="Literal"), slice=options):
                return "|".join(self.options(options, module))
            case ast.Subscript(value=ast.Name(id="list"), slice=item):
                return f"a list, each {self.words(item, module)}"
            case ast.Subscript(value=ast.Name(id="dict")):
                return "names with values"
        return ast.unparse(hint)

    def options(self, options: ast.expr, module: Module) -> list[str]:
        """The words of a Literal, also of `Literal[tuple(NAMES)]`."""
        match options:
            case ast.Tuple(elts=each):
                return [str(literal(option)) for option in each]
            case ast.Call(func=ast.Name(id="tuple"), args=[ast.Name(id=name)]):
                found = self.define(module, name)
                keys = found[1].keys if found and isinstance(found[1], ast.Dict) else []
                return [str(literal(key)) for key in keys if key]
        return [str(literal(options))]

    def ranges(self, target: str) -> dict[str, str]:
        """Name -> what is allowed, by the `require` calls of a class when it is made; the class's own count first."""
        found: dict[str, str] = {}
        for module, cls in self.ancestry(target):
            for made in methods(cls, "__post_init__", "__init__"):
                own: dict[str, list[str]] = {}
                for name, allowed in requirements(made.body, {}, module.values):
                    if said := self.phrase(allowed, module, made):
                        own.setdefault(name, []).append(said)
                inherited = found if calls_super(made) else {}
                found = inherited | {name: "; ".join(said) for name, said in own.items()}
        return found

    def phrase(self, told: ast.expr, module: Module, made: ast.FunctionDef) -> str:
        """What `require` says is allowed, with names of constants replaced; "" where it depends on the data."""
        match told:
            case ast.Constant(value=value):
                return str(value)
            case ast.Attribute(value=ast.Name(id="self"), attr=name):
                return name
            case ast.IfExp(test=test, body=body, orelse=otherwise):
                condition = ast.unparse(test).replace("self.", "").replace(" == ", "=").replace("'", "")
                return f"{self.phrase(otherwise, module, made)} ({self.phrase(body, module, made)} with {condition})"
            case ast.BoolOp(op=ast.Or(), values=[first, second]):
                return f"{self.phrase(first, module, made)} ({self.phrase(second, module, made)} where that is null)"
            case ast.Name(id=name):
                local = [
                    each.value for each in ast.walk(made) if isinstance(each, ast.Assign) and names(each) == [name]
                ]
                if local:
                    return self.phrase(local[-1], module, made)
                found = self.define(module, name)
                return self.phrase(found[1], module, made) if found and isinstance(found[1], ast.expr) else ""
            case ast.FormattedValue(value=value, format_spec=spec):
                said = self.phrase(value, module, made)
                return format(float(said), "g") if spec and said else said
            case ast.JoinedStr(values=parts):
                said = [self.phrase(part, module, made) for part in parts]
                return "".join(said) if all(said) else ""
        return ""


def literal(value: ast.expr) -> object:
    """A constant of source code; its text where it is something else."""
    try:
        return ast.literal_eval(value)
    except ValueError:
        return ast.unparse(value)


def names(statement: ast.Assign) -> list[str]:
    """The plain names that a statement assigns to."""
    return [each.id for each in statement.targets if isinstance(each, ast.Name)]


def methods(cls: ast.ClassDef, *wanted: str) -> list[ast.FunctionDef]:
    """The methods of a class's own body that have one of these names."""
    return [each for each in cls.body if isinstance(each, ast.FunctionDef) and each.name in wanted]


def arguments(function: ast.FunctionDef) -> list[ast.arg]:
    """The named arguments of a method, without self."""
    return [*function.args.args[1:], *function.args.kwonlyargs]


def calls_super(function: ast.FunctionDef) -> bool:
    """Whether a `__post_init__` or `__init__` calls another one, its bases' that is."""
    attributes = [each.attr for each in ast.walk(function) if isinstance(each, ast.Attribute)]
    return function.name in attributes


def requirements(
    body: Sequence[ast.stmt], loop: dict[str, list[str]], constants: dict[str, ast.expr]
) -> Iterator[tuple[str, ast.expr]]:
    """The name of a setting and what is allowed, for each `require` call.

    `loop` has the words of the loop variables, `constants` what the module assigns.
    """
    for statement in body:
        match statement:
            case ast.For(target=target, iter=iterated, body=inner):
                items = constants.get(iterated.id) if isinstance(iterated, ast.Name) else iterated
                words = loop_words(target, items.elts) if isinstance(items, ast.Tuple) else {}
                yield from requirements(inner, loop | words, constants)
            case ast.If(body=inner):
                yield from requirements(inner, loop, constants)
            case ast.Expr(value=ast.Call(func=ast.Name(id="require"), args=[_, name, _, allowed])):
                match name:
                    case ast.Constant(value=str(word)):
                        yield word, allowed
                    case ast.Name(id=variable):
                        yield from ((word, allowed) for word in loop.get(variable, ()))


def loop_words(target: ast.expr, items: Sequence[ast.expr]) -> dict[str, list[str]]:
    """Variable -> the texts it takes, in `for name in ("a", "b")` and `for name, value in (("a", self.a), ...)`."""
    if isinstance(target, ast.Name):
        return {target.id: [str(literal(item)) for item in items if isinstance(item, ast.Constant)]}
    found: dict[str, list[str]] = {}
    for place, variable in enumerate(target.elts if isinstance(target, ast.Tuple) else ()):
        chosen = [item.elts[place] for item in items if isinstance(item, ast.Tuple)]
        if isinstance(variable, ast.Name):
            found[variable.id] = [str(each.value) for each in chosen if isinstance(each, ast.Constant)]
    return found


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
        raise UserError(f"{word}: there is no such {group}{nearest(name, there)}\nthere are: {', '.join(there)}")
    show(describe(group, name, own))


def show(entry: Entry) -> None:
    """An entry as a table on standard output."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    console.print(f"[bold]{entry.group}={entry.name}[/]  {escape(entry.what)}")
    if entry.summary:
        console.print(f"\n{escape(entry.summary)}")
    if entry.settings:
        table = Table("setting", "default", "meaning", "allowed", box=None, padding=(0, 2, 0, 0))
        for each in entry.settings:
            full = each.name if entry.group == "experiment" else f"{entry.group}.{each.name}"
            table.add_row(full, *map(escape, (each.default or "(give one)", each.meaning, each.values)))
        console.print()
        console.print(table)
    if entry.brings:
        brings = " ".join(f"{name}={value}" for name, value in entry.brings.items())
        console.print(f"\nAlso sets, unless the command says otherwise: {escape(brings)}")
