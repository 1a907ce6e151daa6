"""Choose learning rate and main setting of every lifelong method, for each protocol of the manual, by as many trials.

    MLBENCH_DATA=... python scripts/tune_protocols.py --jobs 2
    python scripts/tune_protocols.py --protocols permuted --methods ewc,si --trials 9 --seeds 100,101,102

A method has --trials trials, whatever it has to choose: an orthogonal Latin square of them over `train.lr` and its main
setting (the ranges: SETTINGS and PROTOCOLS below), or all of them over `train.lr` where it has none. A trial is a sweep
over the seeds, from 100 up, on a dataset that contains no test pictures (development.py); the mean average accuracy
counts. Further words, as in data.tasks=2, are added to each command.

Trials are written to OUT/trials.csv as they end, with their seconds, and what is left is estimated after each; the same
command goes on where it was cut off. At the end the best trials are written to --chosen, from which reproduce.py takes
its commands, and printed as commands. About four hours of one core, half of them for gdumb, which trains from scratch
after every task; --jobs 2 halves that on two.
"""

import argparse
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from scipy.stats import qmc
from tune import FIRST_SEED, development, measured

from mlbench.core.csv_files import read_rows, write_csv
from mlbench.core.errors import RunError, UserError

CHOSEN = Path(__file__).parent / "chosen.csv"
HEADER = ["protocol", "method", "trial", "settings", "average_accuracy", "seconds"]
CHOSEN_HEADER = ["protocol", "method", "settings", "average_accuracy", "trials"]
Value = Callable[[float], str]  # from 0..1 to a value as it is typed


def log(low: float, high: float) -> Value:
    """Values between the two, as often in each decade."""
    return lambda share: f"{low * (high / low) ** share:.2g}"


def uniform(low: float, high: float) -> Value:
    """Values between the two."""
    return lambda share: f"{low + (high - low) * share:.2g}"


def choice(*values: int) -> Value:
    """One of the values."""
    return lambda share: str(values[int(share * len(values))])


SETTINGS: dict[str, tuple[str, Value]] = {  # the main setting of a method; the others have the learning rate alone
    "l2": ("lifelong.strength", log(1e-3, 1)),
    "ewc": ("lifelong.strength", log(0.1, 1e4)),
    "si": ("lifelong.strength", log(0.03, 100)),
    "mas": ("lifelong.strength", log(1e-3, 10)),
    "rwalk": ("lifelong.strength", log(0.3, 3e3)),
    "scp": ("lifelong.strength", log(0.3, 3e3)),
    "lwf": ("lifelong.strength", log(0.03, 10)),
    "gem": ("lifelong.margin", uniform(0, 1)),
    "der": ("lifelong.alpha", log(0.05, 2)),
    "derpp": ("lifelong.alpha", log(0.05, 2)),
    "generative_replay": ("lifelong.generator_lr", log(3e-4, 3e-3)),
    "joint": ("lifelong.epochs", choice(3, 10, 30)),  # it bounds the others only where more gain nothing
}


@dataclass
class Protocol:
    """A table of the manual.

    Args:
        words: The command, without technique and seeds.
        rate: The range of the learning rate.
        methods: The rows.
        faster: Words that only the trials have.
        own: Words that a method has in this protocol.
    """

    words: str
    rate: Value
    methods: str
    faster: str = ""
    own: dict[str, str] = field(default_factory=dict)

    def command(self, method: str) -> list[str]:
        """The words of the method's rows."""
        return [*self.words.split(), f"lifelong={method}", *self.own.get(method, "").split()]


PROTOCOLS = {
    "permuted": Protocol(
        "experiment=gem_permuted_mnist",
        log(0.01, 0.3),
        "finetune,lwf,l2,ewc,si,mas,rwalk,scp,agem,er,der,derpp,packnet,independent,joint,gem,gdumb",
        "data.test_per_task=1000",
        {"gdumb": "lifelong.epochs=10"},  # 50 are slow over twenty tasks, and gain less than .01
    ),
    "split": Protocol(
        "data=split_mnist data.scenario=class data.train_per_task=2000 train.epochs=1",
        log(0.003, 0.3),
        "finetune,lwf,l2,ewc,si,mas,rwalk,scp,agem,gem,er,der,derpp,icarl,generative_replay,joint,gdumb",
        own={"gdumb": "lifelong.epochs=10"},
    ),
    "rotated": Protocol(
        "experiment=gem_rotated_mnist", log(0.01, 0.3), "finetune,ewc,gem,joint", "data.test_per_task=1000"
    ),
    "cifar": Protocol(
        "data=split_cifar100 data.tasks=5 data.train_per_task=300 model=resnet18 model.width=20",
        log(0.003, 0.1),
        "finetune,er,gem,joint",
        own=dict.fromkeys(("er", "gem"), "lifelong.memory_total=250"),
    ),
}


@dataclass
class Trial:
    """One choice of settings."""

    protocol: str
    method: str
    number: int
    settings: list[str]

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it apart in trials.csv."""
        return self.protocol, self.method, " ".join(self.settings)


def trials(protocol: str, method: str, count: int) -> list[Trial]:
    """The trials of a method: the centres of the cells of a Latin square, orthogonal where `count` is 4, 9 or 25."""
    rate, main = PROTOCOLS[protocol].rate, SETTINGS.get(method)
    columns = 1 if main is None else 2
    strength = 2 if main is not None and count in (4, 9, 25) else 1
    square = qmc.LatinHypercube(columns, scramble=False, strength=strength, seed=0).random(count)  # [count, columns]
    spaces = [("train.lr", rate), *([] if main is None else [main])]
    found = []
    for number, row in enumerate(square.tolist()):
        settings = [f"{name}={value(share)}" for (name, value), share in zip(spaces, row, strict=True)]
        found.append(Trial(protocol, method, number, settings))
    return found


class Search:
    """Runs what is left of a list of trials, and keeps trials.csv.

    Args:
        wanted: The command line.
        words: Further words of each command.
    """

    def __init__(self, wanted: argparse.Namespace, words: list[str]):
        self.wanted, self.words = wanted, words
        self.lock, self.table = threading.Lock(), wanted.out / "trials.csv"
        self.rows = read_rows(self.table)
        self.bases: dict[str, list[str]] = {}

    def run(self, wanted: list[Trial]) -> None:
        """Run those that are not in the table yet, `--jobs` at a time; methods take turns."""
        done = {(row["protocol"], row["method"], row["settings"]) for row in self.rows}
        left = sorted((trial for trial in wanted if trial.key not in done), key=lambda trial: trial.number)
        for name in dict.fromkeys(trial.protocol for trial in left):  # writes the data once, before the jobs
            protocol = PROTOCOLS[name]
            words = [*protocol.words.split(), *protocol.faster.split(), "lifelong=finetune", *self.words]
            here = development(words, self.wanted.out / name)
            self.bases[name] = [word for word in here if word != "lifelong=finetune"]
        print(f"{len(wanted) - len(left)} of {len(wanted)} trials are done", flush=True)
        self.left = list(left)
        with ThreadPoolExecutor(self.wanted.jobs) as pool:
            list(pool.map(self.measure, left))

    def measure(self, trial: Trial) -> None:
        """Run one trial and write its row; one that diverges has no accuracy."""
        protocol, began = PROTOCOLS[trial.protocol], time.perf_counter()
        own = [f"lifelong={trial.method}", *protocol.own.get(trial.method, "").split(), *trial.settings]
        folder = self.wanted.out.resolve() / trial.protocol
        fixed = [f"seed={self.wanted.seeds}", "threads=1", f"out={folder / 'runs'}"]
        sweep = folder / "sweeps" / "-".join([trial.method, *trial.settings]).replace("=", "_")
        try:
            value = f"{measured([*self.bases[trial.protocol], *own, *fixed], sweep, 'average_accuracy'):.4f}"
        except RunError as error:
            value = ""
            print(f"{trial.method} {' '.join(trial.settings)}: {error}", file=sys.stderr, flush=True)
        seconds = time.perf_counter() - began
        with self.lock:
            cells = [trial.protocol, trial.method, trial.number, " ".join(trial.settings), value, f"{seconds:.1f}"]
            self.rows.append(dict(zip(HEADER, map(str, cells), strict=True)))
            write_csv(self.table, HEADER, [list(row.values()) for row in self.rows])
            self.left.remove(trial)
            print(*cells, f"| about {self.estimate() / 60:.0f} min left", flush=True)

    def estimate(self) -> float:
        """The seconds that what is left may take, from those of the same method, or of all."""
        seconds = [(row["protocol"], row["method"], float(row["seconds"])) for row in self.rows]
        each = []
        for trial in self.left:
            same = [time for *about, time in seconds if about == [trial.protocol, trial.method]]
            times = same or [time for *_, time in seconds]
            each.append(sum(times) / len(times))
        return sum(each) / self.wanted.jobs


def best(rows: list[dict[str, str]], wanted: list[Trial]) -> list[list[object]]:
    """The best trial of each method, as rows of chosen.csv. Raises UserError where all have failed."""
    table = {(row["protocol"], row["method"], row["settings"]): row["average_accuracy"] for row in rows}
    chosen = []
    for protocol, method in dict.fromkeys((trial.protocol, trial.method) for trial in wanted):
        keys = [trial.key for trial in wanted if (trial.protocol, trial.method) == (protocol, method)]
        results = {key[2]: float(table[key]) for key in keys if table[key]}
        if not results:
            raise UserError(f"{protocol}, {method}: all trials have failed")
        settings = max(results, key=results.__getitem__)
        chosen.append([protocol, method, settings, results[settings], len(keys)])
    return chosen


def main() -> int:
    """Search, and write and print what is best."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--protocols", default="permuted,split,rotated")
    parser.add_argument("--methods", default="", help="only these, of those that a protocol has")
    parser.add_argument("--trials", type=int, default=9)
    parser.add_argument("--seeds", default="100,101,102")
    parser.add_argument("--jobs", type=int, default=1, help="trials at a time, each with one thread")
    parser.add_argument("--out", type=Path, default=Path("outputs/tune_protocols"))
    parser.add_argument("--chosen", type=Path, default=CHOSEN)
    wanted, words = parser.parse_known_args()
    try:
        return search(wanted, words)
    except UserError as error:
        print(f"tune_protocols: {error}", file=sys.stderr)
        return 2


def search(wanted: argparse.Namespace, words: list[str]) -> int:
    """Run the trials that are left, and keep the rows of chosen.csv that are not about them. Raises UserError."""
    if unknown := set(wanted.protocols.split(",")) - set(PROTOCOLS):
        raise UserError(f"--protocols={','.join(sorted(unknown))}: allowed are {', '.join(PROTOCOLS)}")
    if not all(seed.isdigit() and int(seed) >= FIRST_SEED for seed in wanted.seeds.split(",")):
        raise UserError(f"--seeds={wanted.seeds}: allowed are whole numbers from {FIRST_SEED}; others are reported on")
    only = set(filter(None, wanted.methods.split(",")))
    planned = [
        trial
        for protocol in wanted.protocols.split(",")
        for method in PROTOCOLS[protocol].methods.split(",")
        if not only or method in only
        for trial in trials(protocol, method, wanted.trials)
    ]
    work = Search(wanted, words)
    work.run(planned)
    chosen = best(work.rows, planned)
    new = {(row[0], row[1]) for row in chosen}
    kept = [list(row.values()) for row in read_chosen(wanted.chosen) if (row["protocol"], row["method"]) not in new]
    write_csv(wanted.chosen, CHOSEN_HEADER, kept + chosen)
    for protocol, method, settings, accuracy, _ in chosen:
        print(f"{accuracy:.4f}  mlbench {' '.join([*PROTOCOLS[protocol].command(method), settings])}")
    return 0


def read_chosen(path: Path = CHOSEN) -> list[dict[str, str]]:
    """The rows of chosen.csv; none where it does not exist."""
    return read_rows(path)


if __name__ == "__main__":
    sys.exit(main())
