"""mlbench against Avalanche (lifelong learning) and captum (maps): tables for the manual.

    python scripts/compare_peers.py [--part lifelong|maps] [--data mnist|digits] [--tasks 10] [--rounds 5]

Needs `pip install 'mlbench[peers]'`, mnist.npz in the data directory ($MLBENCH_DATA), and for about five minutes a
machine that does nothing else. Each side lives in a process of its own with one thread, and they take turns; a round is
one seed, which gives both the same tasks, first weights and settings. Training is timed, with all that a method does at
the end of a task, and nothing else is. Avalanche may stand in another environment (it brings many packages):

    python -m venv avalanche && avalanche/bin/pip install 'avalanche-lib>=0.6' quadprog
    python scripts/compare_peers.py --peer-python avalanche/bin/python
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from statistics import median

import torch
from peers_protocol import Protocol

from mlbench.core.statistics import spread

HERE = Path(__file__).resolve().parent
METHODS = ("naive", "EWC", "EWC, one penalty", "GEM", "A-GEM", "replay")
WARM_UP = Protocol("digits", 2, 100)


class Side:
    """A process that learns when it is asked to; used as a context manager."""

    def __init__(self, name: str, python: str):
        self.name, self.python = name, python

    def __enter__(self) -> "Side":
        places = [str(HERE.parent), os.environ.get("PYTHONPATH", "")]
        alone = {"PYTHONPATH": os.pathsep.join(filter(None, places)), "OMP_NUM_THREADS": "1"}
        command = [self.python, str(HERE / f"peers_{self.name}.py")]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, env={**os.environ, **alone}, **pipes)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(BrokenPipeError):
            self.process.stdin.close()  # the end of its input is its end
        self.process.stdout.close()
        self.process.wait()

    def learn(self, method: str, seed: int, protocol: Protocol) -> dict[str, float]:
        """What `learned` (peers_protocol.py) found there."""
        request = {"method": method, "seed": seed, "protocol": asdict(protocol)}
        with suppress(BrokenPipeError):
            print(json.dumps(request), file=self.process.stdin, flush=True)
        if not (line := self.process.stdout.readline()):
            sys.exit(f"the process of {self.name} has died, see above")
        return json.loads(line)


def check_peer(python: str) -> None:
    """End with a line of advice where this interpreter is not there or has no Avalanche."""
    there = "import sys, importlib.util; sys.exit(importlib.util.find_spec('avalanche') is None)"
    try:
        missing = subprocess.run([python, "-c", there], check=False).returncode
    except OSError as error:
        sys.exit(f"--peer-python {python}: {error.strerror}")
    if missing:
        sys.exit(f"{python} has no Avalanche; pip install 'mlbench[peers]' brings it, or name another --peer-python")


def lifelong(protocol: Protocol, rounds: int, peer_python: str) -> None:
    """The table against Avalanche."""
    check_peer(peer_python)
    found: dict[str, list[tuple[dict, dict]]] = {method: [] for method in METHODS}
    with Side("mlbench", sys.executable) as mine, Side("avalanche", peer_python) as theirs:
        for method in METHODS:
            for side in (mine, theirs):
                side.learn(method, 0, WARM_UP)
        for seed in range(rounds):
            for method in METHODS:
                order = (mine, theirs) if seed % 2 == 0 else (theirs, mine)
                answers = {side: side.learn(method, seed, protocol) for side in order}
                found[method].append((answers[mine], answers[theirs]))
            print(f"round {seed + 1} of {rounds}", file=sys.stderr)
    heads = ("mlbench, samples/s", "Avalanche, samples/s", "ratio", "mlbench, accuracy", "Avalanche, accuracy")
    table(
        [f"{protocol.tasks} permutations of {protocol.data}", *heads], [lifelong_row(*pair) for pair in found.items()]
    )


def lifelong_row(method: str, pairs: list[tuple[dict, dict]]) -> list[str]:
    """Medians of both speeds and of their ratio; accuracies as mean and half the interval over the rounds."""
    if uneven := [(mine["steps"], theirs["steps"]) for mine, theirs in pairs if mine["steps"] != theirs["steps"]]:
        sys.exit(f"{method}: not the same work, {uneven[0]} steps")
    sides = list(zip(*pairs, strict=True))
    speeds = [median(each["samples"] / each["seconds"] for each in side) for side in sides]
    ratio = median(theirs["seconds"] / mine["seconds"] for mine, theirs in pairs)
    scores = [str(spread([each["accuracy"] for each in side])) for side in sides]
    return [method, *(f"{speed:,.0f}" for speed in speeds), f"{ratio:.1f}", *scores]


def maps(rounds: int) -> None:
    """The table against captum: its defaults, and the fastest of the batch sizes tried."""
    from benchmark_maps import contests, interleaved  # imports captum

    rows = []
    for title, name, contestants in contests():
        contestants.pop("forward", None)
        mine, default = (
            contestants["mlbench"](),
            contestants["default"](),
        )  # one channel for all colours, or each its own
        same = torch.corrcoef(torch.stack([mine.expand_as(default).flatten(), default.flatten()]))[0, 1].item()
        taken = interleaved(contestants, rounds)
        own = taken.pop("mlbench")
        ratios = {key: median(b / a for a, b in zip(own, values, strict=True)) for key, values in taken.items()}
        best = min(ratios, key=ratios.get)
        seconds = [f"{median(values):.2f}" for values in (own, taken["default"], taken[best])]
        shown = [*seconds, f"{ratios['default']:.1f}", f"{ratios[best]:.1f} ({best})", f"{same:.3f}"]
        rows.append([f"{name}, {title}", *shown])
    heads = (
        "mlbench, s",
        "captum, s",
        "captum at its best, s",
        "ratio",
        "ratio at its best",
        "correlation of the maps",
    )
    table(["8 pictures of 32x32", *heads], rows)


def table(heads: list[str], rows: Iterable[list[str]]) -> None:
    """In markdown, on standard output."""
    print()
    for cells in (heads, ["---"] * len(heads), *rows):
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=("lifelong", "maps"), help="only this one")
    parser.add_argument("--data", choices=("mnist", "digits"), default="mnist")
    parser.add_argument("--tasks", type=int, default=10)
    parser.add_argument("--examples", type=int, default=1000, help="of each task")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer-python", default=sys.executable, help="the interpreter that has Avalanche")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.part != "maps":
        lifelong(Protocol(given.data, given.tasks, given.examples), given.rounds, given.peer_python)
    if given.part != "lifelong":
        maps(given.rounds)
