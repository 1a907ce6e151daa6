"""Who may import whom (the rooms of the house), read from the source without running it."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "mlbench"
FAMILIES = {"lifelong", "compress", "explain"}
LIGHT = {"summaries", "reporting", "figures", "findings", "pages", "claims", "sweeps", "spread", "cli", "mistakes"}
LIGHT |= {"words", "catalogue", "errors", "files", "build", "run", "lock", "display"}  # all these do without torch
# what a batch is; no dataset
DATA_TYPES = {f"mlbench.data.{name}" for name in ("tasks", "heads", "kinds", "augment", "preprocessing")}


def imports(path):
    """Dotted names imported anywhere in a file, `from a import b` as a.b where b is a module of ours."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                inner = PACKAGE.parent.joinpath(*node.module.split("."), f"{alias.name}.py")
                found.add(f"{node.module}.{alias.name}" if inner.exists() else node.module)
    return found


def inside(path):
    return {name for name in imports(path) if name.split(".")[0] == "mlbench"}


FILES = sorted(PACKAGE.rglob("*.py"))
IDS = [str(path.relative_to(PACKAGE)) for path in FILES]


def room(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_rooms_are_entered_only_by_those_who_may(path):
    mine, used = room(path), inside(path)
    rooms = {name.split(".")[1] for name in used if "." in name}
    if mine == "models":
        assert not used
    if mine == "data":
        assert not rooms & (FAMILIES | {"models", "run", "results", "train"})
    if mine in {"theta", "optimizer", "train", "evaluate", "gradients", "modes"}:
        assert not rooms & (FAMILIES | {"models", "results", "run"})
        assert {name for name in used if name.startswith("mlbench.data")} <= DATA_TYPES
    if mine in FAMILIES and path.name not in {"base.py", "runner.py", "tables.py"}:  # methods draw and write nothing
        assert not rooms & ((FAMILIES - {mine}) | {"results", "run", "models", "summaries", "reporting", "figures"})
        assert {name for name in used if name.startswith("mlbench.data")} <= DATA_TYPES
        assert not any(name.split(".")[0] in {"hydra", "omegaconf"} for name in imports(path))
    if mine in FAMILIES:
        assert not rooms & (FAMILIES - {mine})
    if mine in LIGHT:
        assert "torch" not in {name.split(".")[0] for name in imports(path)}
    if mine not in {"cli", "__main__"}:
        assert not rooms & {"cli"}
        assert "run" not in rooms


@pytest.mark.parametrize("path", FILES, ids=IDS)
def test_only_run_and_cli_know_hydra(path):
    if room(path) not in {"run", "words", "mistakes"} and path.stem not in {"launchers", "slurm"}:
        assert not any(name.split(".")[0] == "hydra" for name in imports(path))


def test_init_files_hold_a_docstring_and_no_more():
    for path in PACKAGE.rglob("__init__.py"):
        if path.parent != PACKAGE:
            assert len(ast.parse(path.read_text(encoding="utf-8")).body) == 1


def test_no_room_without_a_name():
    assert not {path.stem for path in FILES} & {"utils", "helpers", "misc", "common"}
