"""Search for settings on training data alone, and never on the seeds that are reported.

    python scripts/tune.py lifelong=ewc data=permuted_digits --search 'lifelong.strength=log(0.1,1000)' \\
        --search 'train.lr=log(0.003,0.3)' --trials 30

A setting is searched in log(low,high), uniform(low,high), int(low,high) or choice(a,b,...). The dataset is copied
without its test pictures, a sixth of the training pictures in their place. Each trial is a sweep over the seeds, whose
mean of --metric counts. The same command goes on where it was cut off. Needs `pip install 'mlbench[tune]'`.
"""

import argparse
import csv
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from development import write_development
from omegaconf import OmegaConf

from mlbench.core.child_processes import python_command
from mlbench.core.config_groups import data_dir
from mlbench.core.csv_files import write_csv
from mlbench.core.errors import RunError, UserError
from mlbench.core.instantiate import build
from mlbench.data.dataset import Source

FAILED = 1  # the exit code of a run that began and failed
FIRST_SEED = 100  # the smaller ones are for what is reported
SPACE = re.compile(r"([\w.]+)=(log|uniform|int|choice)\((.+)\)")


def main() -> int:
    """Search, and print the best settings as a command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--search", action="append", required=True, metavar="NAME=SPACE")
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--seeds", default="100,101,102")
    parser.add_argument("--metric", default=None, help="average_accuracy where there is one, else accuracy")
    parser.add_argument("--minimise", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("outputs/tune"))
    wanted, words = parser.parse_known_args()
    try:
        return tune(wanted, words)
    except (UserError, RunError) as error:
        print(f"tune: {error}", file=sys.stderr)
        return 2


def tune(wanted: argparse.Namespace, words: list[str]) -> int:
    """Run the trials that are left. Raises UserError."""
    try:
        import optuna
    except ImportError as error:
        raise UserError("this needs optuna: pip install 'mlbench[tune]'") from error
    seeds = wanted.seeds.split(",")
    if not all(seed.isdigit() and int(seed) >= FIRST_SEED for seed in seeds):
        raise UserError(f"--seeds={wanted.seeds}: allowed are whole numbers from {FIRST_SEED}; others are reported on")
    spaces = [space(text) for text in wanted.search]
    study_of = [words, wanted.search, seeds, wanted.metric, wanted.minimise]
    here = wanted.out / hashlib.sha256(json.dumps(study_of).encode()).hexdigest()[:12]
    base = [*development(words, here), f"seed={wanted.seeds}", f"out={here.resolve()}"]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name="tune",
        storage=f"sqlite:///{here.resolve() / 'trials.db'}",
        sampler=optuna.samplers.TPESampler(seed=FIRST_SEED),
        direction="minimize" if wanted.minimise else "maximize",
        load_if_exists=True,
    )

    def trial(chosen: Any) -> float:
        settings = [f"{name}={suggest(chosen)}" for name, suggest in spaces]
        value = measured([*base, *settings], here / "sweeps" / str(chosen.number), wanted.metric)
        print(f"{chosen.number:4d}  {value:.4f}  {' '.join(settings)}", flush=True)
        return value

    done = [each for each in study.trials if each.state.is_finished()]
    study.optimize(trial, n_trials=max(0, wanted.trials - len(done)))
    names = [name for name, _ in spaces]
    rows = [
        [each.number, each.value, *(each.params[name] for name in names)]
        for each in study.trials
        if each.value is not None
    ]
    write_csv(here / "trials.csv", ["trial", "value", *names], rows)
    found = " ".join(f"{name}={told(study.best_params[name])}" for name in names)
    print(f"trials: {here / 'trials.csv'}\nbest ({study.best_value:.4f}): mlbench {' '.join(words)} {found}")
    return 0


def space(text: str) -> tuple[str, Callable[[Any], str]]:
    """`name=log(0.1,10)` as a name and what asks a trial for its value. Raises UserError."""
    if (match := SPACE.fullmatch(text)) is None:
        raise UserError(
            f"--search {text}: allowed is NAME=log(low,high), uniform(low,high), int(low,high) or choice(a,b)"
        )
    name, kind, inner = match.groups()
    ends = inner.split(",")
    if kind == "choice":
        return name, lambda trial: trial.suggest_categorical(name, ends)
    try:
        low, high = map(int if kind == "int" else float, ends)
    except ValueError as error:
        raise UserError(f"--search {text}: {kind} takes two numbers") from error
    if low >= high or (kind == "log" and low <= 0):
        raise UserError(f"--search {text}: the first number is the smaller one, and above 0 for log")
    if kind == "int":
        return name, lambda trial: str(trial.suggest_int(name, low, high))
    return name, lambda trial: told(trial.suggest_float(name, low, high, log=kind == "log"))


def told(value: object) -> str:
    """A value as it is typed."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def development(words: list[str], folder: Path) -> list[str]:
    """The words with the dataset in `folder`, without its test pictures, in the place of the one that they name.

    Raises UserError for data that is not pictures, and for commands that mlbench does not understand.
    """
    shown = mlbench([*words, "--cfg", "job"])
    if shown.returncode:
        raise UserError(shown.stderr.strip().removeprefix("mlbench: "))
    data = OmegaConf.create(shown.stdout).data
    made_of_a_source = "source" in data
    source = build(data.source if made_of_a_source else data, Source, "data", ())
    path = write_development(source.load(data_dir()), folder / "development.npz")
    if made_of_a_source:
        named = [word for word in words if word.partition("=")[0] not in ("data.source", "data.source.path")]
        return [*named, "data.source=npz", f"data.source.path={path.resolve()}"]
    kept = {key: value for key, value in data.items() if key not in ("_target_", "path", "name")}
    named = [word for word in words if word.partition("=")[0] not in ("data", *(f"data.{key}" for key in kept))]
    settings = [f"++data.{key}={json.dumps(value).replace(chr(34), chr(39))}" for key, value in plain(kept).items()]
    return [*named, "data=npz", f"data.path={path.resolve()}", *settings]


def plain(values: dict[str, Any]) -> dict[str, Any]:
    """Without OmegaConf."""
    return OmegaConf.to_container(OmegaConf.create(values))


def measured(words: list[str], sweep: Path, metric: str | None) -> float:
    """The mean over seeds of a metric. Raises UserError where there is none, RunError where a run failed."""
    ran = mlbench(["-m", *words, f"hydra.sweep.dir={sweep.resolve()}"])
    if ran.returncode:
        kind = RunError if ran.returncode == FAILED else UserError
        raise kind(ran.stderr.strip().splitlines()[-1].removeprefix("mlbench: "))
    with (sweep / "sweep.csv").open(encoding="utf-8", newline="") as file:
        means = {row["metric"]: float(row["mean"]) for row in csv.DictReader(file)}
    name = metric or ("average_accuracy" if "average_accuracy" in means else "accuracy")
    if name not in means:
        raise UserError(f"--metric {name}: there are {', '.join(means)}")
    return means[name]


def mlbench(words: list[str]) -> subprocess.CompletedProcess:
    """Run a command in a process of its own."""
    return subprocess.run(python_command("mlbench", *words), capture_output=True, text=True, check=False)


if __name__ == "__main__":
    sys.exit(main())
