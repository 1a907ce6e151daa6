"""The rooms of the house: who may import whom, and which need no torch."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "mlbench"
# each imports only from those behind it, and from itself
ROOMS = [
    "__main__",
    "cli",
    "run",
    "lifelong",
    "compress",
    "explain",
    "experiment",
    "reporting",
    "runs",
    "training",
    "data",
]
ROOMS += ["data", "models", "core"]
FAMILIES = {"lifelong", "compress", "explain"}
WITHOUT_TORCH = {"run", "cli", "reporting"}


def imports(path: Path, lazily: bool = True) -> set[str]:
    """Dotted names of all modules that a file imports, with `lazily` also inside functions."""
    names = set()
    body = ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if lazily else ast.parse(path.read_text()).body
    for node in body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            inner = [PACKAGE.parent.joinpath(*node.module.split("."), f"{alias.name}.py") for alias in node.names]
            names |= {f"{node.module}.{p.stem}" if p.exists() else node.module for p in inner}
    return names


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if room(path) != "__init__"]


def test_every_room_imports_only_from_those_below_it():
    for path in FILES:
        mine = room(path)
        for other in {module.split(".")[1] for module in imports(path) if module.startswith("mlbench.")} - {mine}:
            down = ROOMS.index(other) > ROOMS.index(mine) and not {mine, other} <= FAMILIES
            assert down, f"{path} imports {other}"


def test_models_are_plain_torch_beside_the_core():
    for path in (PACKAGE / "models").rglob("*.py"):
        used = {module for module in imports(path) if module.startswith("mlbench.")}
        assert all(module.split(".")[1] in {"models", "core"} for module in used), path


def test_reporting_and_the_command_line_import_no_torch():
    """Not at once, and not through what they import: a function may, when it is called."""
    seen, wanted = set(), [path for path in FILES if room(path) in WITHOUT_TORCH]
    while wanted:
        path = wanted.pop()
        seen.add(path)
        for module in imports(path, lazily=False):
            assert module.partition(".")[0] not in {"torch", "torchvision"}, f"{path}: torch"
            file = PACKAGE.parent.joinpath(*module.split(".")).with_suffix(".py")
            if module.startswith("mlbench.") and file.exists() and file not in seen:
                wanted.append(file)


def test_init_files_hold_a_docstring_and_no_more():
    for path in PACKAGE.rglob("__init__.py"):
        assert path.parent == PACKAGE or len(ast.parse(path.read_text(encoding="utf-8")).body) == 1


def test_no_module_is_named_for_leftovers_and_one_stands_at_the_top():
    stems = [path.stem for path in FILES if path.stem != "__init__"]
    assert not set(stems) & {"utils", "helpers", "misc", "common"}
    assert {path.name for path in PACKAGE.glob("*.py")} == {"__init__.py", "__main__.py", "run.py"}
