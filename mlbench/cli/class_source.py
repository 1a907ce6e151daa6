"""Types, allowed words and ranges of settings, read from the source of a class, which is parsed and never executed."""

import ast
import functools
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import mlbench

PACKAGES = ("mlbench", "hydra_plugins")  # read from beside this package; all others only from the user's folders


TYPES = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text", "Any": ""}


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
