"""Time and memory under load: many jobs, runs, pictures, classes and tasks.

    python scripts/benchmark_load.py [sweep] [report] [pictures] [classes] [tasks]

Without names, all of them; about six minutes on a machine that does nothing else. Needs no data. Prints one line a bar:
what was measured, the bar, and whether it was met; exit code 1 when one was missed.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from mlbench.core.child_processes import python_command

ROOT = Path(__file__).resolve().parents[1]
JOBS = 500  # of the sweep
WARM = 50  # jobs after which its memory should stay
RUNS = 3000  # in the report
MEMORY = 1500  # MB of one run, of which torch takes some 900
SMALL = ["model=mlp", "train.epochs=1", "threads=1"]


class Child:
    """A command of mlbench in a process of its own: its seconds, and its largest memory in MB."""

    def __init__(self, *words: str):
        self.words, self.began = words, time.perf_counter()
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = python_command("mlbench", *words)
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 - read where the command fails
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=self.errors)

    def memory(self) -> float:
        """What it takes now, in MB."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 1e6

    def end(self) -> tuple[float, float]:
        """Seconds and largest MB. Ends this program where the command failed."""
        _, status, used = os.wait4(self.process.pid, 0)
        seconds = time.perf_counter() - self.began
        if status:
            self.errors.seek(0)
            sys.exit(f"mlbench {' '.join(self.words)}: failed\n{self.errors.read().decode()}")
        return seconds, used.ru_maxrss / 1e3


def bar(name: str, measured: float, most: float, unit: str) -> bool:
    """Print a line; whether the bar was met."""
    met = measured <= most
    print(f"{name:44} {measured:9.3g} {unit:9} at most {most:g}: {'met' if met else 'MISSED'}", flush=True)
    return met


def sweep(folder: Path) -> list[bool]:
    """Seconds of a job after the first ones, and what a job leaves in memory; its network trains for 15 ms."""
    child = Child("-m", "data=digits", *SMALL, f"seed=range({JOBS + 1})", f"out={folder}")
    ends: list[tuple[float, float]] = []  # time and memory after each job
    while len(ends) <= JOBS:
        time.sleep(0.05)
        logs = list(folder.glob("sweeps/*/jobs.jsonl"))
        count = logs[0].read_bytes().count(b"\n") if logs else 0
        ends += [(time.perf_counter(), child.memory())] * (count - len(ends))
    child.end()
    (first, _), (_, before), (last, after) = ends[0], ends[WARM], ends[JOBS]
    return [
        bar(f"sweep: a job of {JOBS}, after the first", (last - first) / JOBS, 0.3, "s"),
        bar(f"sweep: memory a job, from job {WARM} to {JOBS}", (after - before) / (JOBS - WARM), 0.02, "MB"),
    ]


def report(folder: Path) -> list[bool]:
    """The page of many made-up runs of all families."""
    subprocess.run([sys.executable, str(ROOT / "tests" / "made_up_runs.py"), str(folder), str(RUNS)], check=True)
    seconds, memory = Child("report", str(folder)).end()
    return [bar(f"report: {RUNS} runs", seconds, 10, "s"), bar("report: largest memory", memory, 300, "MB")]


def pictures(folder: Path) -> list[bool]:
    """A folder of 20,000 pictures, decoded and cached by the first run."""
    draws = np.random.default_rng(0)
    for number in range(20_000):
        place = folder / "pictures" / f"class_{number % 20:02d}"
        place.mkdir(parents=True, exist_ok=True)
        pixels = draws.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / f"{number:05d}.png", compress_level=0)
    words = ["data=image_folder", f"data.path={folder / 'pictures'}", "data.size=32", *SMALL, f"out={folder / 'out'}"]
    return once("pictures: 20,000 in a folder", words, 120, MEMORY)


def classes(folder: Path) -> list[bool]:
    """A file with 1,000 classes."""
    draws = np.random.default_rng(0)
    sets = {"train": np.arange(5000) % 1000, "test": np.arange(2000) % 1000}
    arrays = {f"y_{name}": labels for name, labels in sets.items()}
    arrays |= {f"x_{name}": draws.integers(0, 256, (len(labels), 8, 8), np.uint8) for name, labels in sets.items()}
    np.savez(folder / "classes.npz", **arrays)
    words = ["data=npz", f"data.path={folder / 'classes.npz'}", *SMALL, f"out={folder / 'out'}"]
    return once("classes: 1,000", words, 60, 1000)


def tasks(folder: Path) -> list[bool]:
    """A stream of 200 tasks, and its matrix of 40,000 accuracies."""
    words = ["lifelong=finetune", "data=permuted_digits", "data.tasks=200", "data.train_per_task=100", *SMALL]
    return once("tasks: 200", [*words, f"out={folder / 'out'}"], 120, MEMORY)


def once(name: str, words: list[str], most_seconds: float, most_memory: float) -> list[bool]:
    """One run."""
    seconds, memory = Child(*words).end()
    return [bar(name, seconds, most_seconds, "s"), bar(f"{name}, largest memory", memory, most_memory, "MB")]


PARTS = {"report": report, "sweep": sweep, "pictures": pictures, "classes": classes, "tasks": tasks}


def main() -> int:
    """Measure what was asked for, each in a folder that is removed afterwards."""
    wanted = sys.argv[1:] or list(PARTS)
    if unknown := set(wanted) - set(PARTS):
        print(f"benchmark_load: {', '.join(sorted(unknown))}: allowed are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    met = []
    for name in wanted:
        with tempfile.TemporaryDirectory() as folder:
            met += PARTS[name](Path(folder))
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
