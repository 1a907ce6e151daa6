"""The test suite under every Python that is allowed, and once with the oldest libraries that are.

    python scripts/try_pythons.py [--folder build/pythons] [--pythons python3.11 python3.12 python3.13] [--jobs 2]

Each gets an environment of its own below the folder (5 GB and more, a minute or two), made by uv, which must be on the
PATH; one that is there already is used again. Prints what pytest said last for each, and what it said before goes to a
log beside the environment; exit code 1 when a suite failed.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
# the lowest versions that pyproject.toml allows; what these need in turn is as new as it can be
OLDEST = ("--resolution", "lowest-direct")


def tried(name: str, python: str, options: tuple[str, ...], folder: Path, jobs: int) -> tuple[bool, str]:
    """Whether the suite passed in the environment `name`, and the last line of its log."""
    place, log = folder / name, folder / f"{name}.txt"
    inside = place / "bin" / "python"
    steps = [
        ["uv", "venv", "--quiet", "--allow-existing", "--python", python, place],
        ["uv", "pip", "install", "--quiet", "--python", inside, *options, "--editable", f"{HERE}[all]"],
        [inside, "-m", "pytest", "-q", "-n", jobs, "-m", "not slow"],
    ]
    with log.open("w", encoding="utf-8") as stream:
        for step in steps:
            words = [str(word) for word in step]
            if subprocess.run(words, cwd=HERE, stdout=stream, stderr=subprocess.STDOUT, check=False).returncode:
                break
        else:
            return True, last_line(log)
    return False, last_line(log)


def last_line(log: Path) -> str:
    """The end of what was printed."""
    return log.read_text(encoding="utf-8", errors="replace").rstrip().rpartition("\n")[2]


def main(pythons: list[str], folder: Path, jobs: int) -> int:
    """Try all of them; the exit code."""
    if shutil.which("uv") is None:
        sys.exit("uv is not on the PATH; pip install uv brings it")
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {f"{Path(python).name}-{number}": (python, ()) for number, python in enumerate(pythons)}
    wanted["oldest"] = (pythons[0], OLDEST)
    good = True
    for name, (python, options) in wanted.items():
        passed, line = tried(name, python, options, folder, jobs)
        good &= passed
        print(f"{'passed' if passed else 'FAILED'}  {name} ({python}): {line}", flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=HERE / "build" / "pythons")
    parser.add_argument("--pythons", nargs="+", default=["python3.11", "python3.12", "python3.13"])
    parser.add_argument("--jobs", type=int, default=2)
    chosen = parser.parse_args()
    sys.exit(main(chosen.pythons, chosen.folder.resolve(), chosen.jobs))
