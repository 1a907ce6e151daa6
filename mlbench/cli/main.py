"""The console script: help, list and data are answered here, without torch; everything else is handed to run.py."""

import os
import re
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from mlbench import __version__
from mlbench.cli.error_messages import composition_error, own_folders
from mlbench.cli.overrides import for_hydra
from mlbench.cli.settings_help import show_settings
from mlbench.cli.suggestions import instead_of_word
from mlbench.core.child_processes import python_path
from mlbench.core.config_groups import GROUPS, conf_folder, data_dir, entries
from mlbench.core.errors import RunError, UserError, nearest
from mlbench.core.interruption import interruption
from mlbench.core.plain_text import printable
from mlbench.core.user_path import user_path

if TYPE_CHECKING:
    from rich.table import Table

HELP = """\
mlbench: lifelong learning, network compression and interpretability, one command each

  mlbench                                        train the default model on digits
  mlbench lifelong=gem data=split_cifar          one dataset, one model, one technique
  mlbench compress=prune data=mnist model=lenet_300_100
  mlbench explain=smoothgrad data=planted
  mlbench experiment=gem_permuted_mnist lifelong=ewc seed=1
  mlbench -m lifelong=finetune,ewc,gem seed=0,1,2   every combination, then a table with error bars
  mlbench lifelong=gem seeds=5                   short for -m seed=0,1,2,3,4
  mlbench lifelong=gem seeds=5 hydra/launcher=joblib   several at once on this machine (submitit_slurm: on a cluster)

  mlbench list [GROUP]      what there is to choose from: {groups}
  mlbench help GROUP=NAME   the settings of one choice, with defaults, meanings and ranges, as in: help lifelong=ewc
  mlbench data [get NAME]   which data files are there; fetch one
  mlbench report [DIR]      everything below DIR (outputs) on one page: DIR/report/index.html
  mlbench predict RUN EXAMPLES...   what a trained network takes pictures, sounds or texts for (--top 5, --csv FILE)
  mlbench lecture --quick   test the lectures' claims, every one or those named, on data that is there
  mlbench resume=FOLDER     continue an interrupted run
  mlbench --cfg job ...     show the config a command makes, without running it
  mlbench --config-dir DIR  choose from your own YAML files and modules in DIR as well (also: list)
  mlbench --hydra-help      more about composing configs

Settings are written name=value. The most used: seed, device=auto|cpu|cuda|cuda:N, threads, precision=fp32|bf16,
out=outputs, data_dir, checkpoint, keep=last|tasks|all, force, and train.epochs, train.batch_size, train.lr,
train.optimizer=sgd|adam|adamw, train.momentum, train.weight_decay, train.schedule=constant|linear|cosine|warmup.

Results appear in outputs/<family>/<technique>-<data>-<model>/<run>/. Exit codes: 0 done, 1 the run failed,
2 a mistake in the command or in an input file, 130 interrupted (143: by SIGTERM, 129: by SIGHUP).
Shell completion: eval "$(mlbench --shell-completion install=bash)"  (or install=zsh, install=fish)
"""
EMBEDDED = ("digits", "wine", "breast_cancer")  # datasets that come with scikit-learn
COMMANDS = ("list", "data", "report", "predict", "lecture", "help")


def main() -> int:
    """Run the command line in sys.argv; the exit code."""
    words = sys.argv[1:]
    full_errors = os.environ.get("HYDRA_FULL_ERROR") == "1"
    try:
        with interruption.listening():
            return dispatch(words)
    except (UserError, RunError) as error:
        return report(error, full_errors, 2 if isinstance(error, UserError) else 1)
    except KeyboardInterrupt as stop:
        print(str(stop) or "interrupted", file=sys.stderr)
        return interruption.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if (message := composition_error(error, words)) is not None:
            return report(UserError(message), full_errors, 2)
        traceback.print_exc()
        return 1


def report(error: Exception, full: bool, code: int) -> int:
    """Print the short message (and where it came from, for HYDRA_FULL_ERROR=1) and give back the exit code."""
    if full:
        traceback.print_exc()
    print(printable(f"mlbench: {error}", lines=True), file=sys.stderr)
    return code


def dispatch(words: list[str]) -> int:
    """Answer a word of our own, or run."""
    folders, others = own_folders(words)
    if others[:1] == ["list"] or (others[:1] == ["help"] and others[1:] and others[1] not in COMMANDS):
        return answer_list(others[1:], folders)
    match words:
        case ["-h" | "--help" | "help", *_]:
            print(HELP.format(groups=", ".join(GROUPS)), end="")
        case ["--version"]:
            print(__version__)
        case ["data", *rest]:
            answer_data(rest)
        case ["report", *rest]:
            from mlbench.reporting.report.build import answer

            print(printable(str(answer(rest))))
        case ["predict", *rest]:
            from mlbench.cli.predict import predict

            print(printable("\n".join(predict(rest, folders)), lines=True))
        case ["lecture", *rest]:
            from mlbench.reporting.claims.lecture import lecture

            os.environ["PYTHONPATH"] = python_path()
            return lecture(rest)
        case _:
            return run(words)
    return 0


def run(words: list[str]) -> int:
    """Hand the command to Hydra; modules beside the user's own config can be imported."""
    if words and words[0] in GROUPS:
        raise UserError(f"{words[0]}: a name is needed, as in {words[0]}=NAME; mlbench list {words[0]} shows them")
    if words and re.fullmatch(r"[a-z_]+", words[0]):
        raise UserError(f"no command called {words[0]}{instead_of_word(words[0], COMMANDS)}; see mlbench --help")
    sys.argv[1:] = words = for_hydra(words)
    os.environ["PYTHONPATH"] = python_path()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing, and main prints a short line
    for folder in own_folders(words)[0]:
        sys.path.append(folder)
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), folder)))
    from mlbench.cli.launchers.processes import forget_others
    from mlbench.run import main as compose_and_run

    forget_others()
    compose_and_run()
    return 0


def answer_list(words: list[str], folders: list[str]) -> int:
    """`mlbench list [GROUP | GROUP=NAME]`, with what is in `folders`, the user's own; the exit code."""
    if len(words) > 1:
        raise UserError("usage: mlbench list [GROUP | GROUP=NAME]")
    if words and "=" in words[0]:
        show_settings(words[0], [Path(folder) for folder in folders])
        return 0
    for group in words:
        if group not in GROUPS:
            hint = instead_of_word(group, GROUPS, [Path(folder) for folder in folders])
            raise UserError(f"no group called {group}{hint}\nthere are: {', '.join(GROUPS)}")
    for group in words or GROUPS:
        show_group(group, [conf_folder(), *map(Path, folders)])
    return 0


def show_group(group: str, folders: list[Path]) -> None:
    """A table of what a group offers in these folders; nothing for an empty one."""
    from rich.table import Table

    from mlbench.core.plain_console import PlainConsole

    if choices := {name: text for folder in folders for name, text in entries(group, folder).items()}:
        table = Table("name", "what it is", title=f"{group}=", title_justify="left", box=None)
        for name, text in choices.items():
            table.add_row(name, text)
        PlainConsole().print(table)


def answer_data(words: list[str]) -> None:
    """`mlbench data` and `mlbench data get NAME`, each with `data_dir=FOLDER` where another one is meant."""
    named = [word.partition("=")[2] for word in words if word.startswith("data_dir=")]
    folder = user_path(named[-1]) if named and named[-1] else data_dir()
    match [word for word in words if not word.startswith("data_dir=")]:
        case []:
            show_data(folder)
        case ["get", name]:
            get_data(name, folder)
        case _:
            raise UserError("usage: mlbench data [get NAME] [data_dir=FOLDER]")


def show_data(folder: Path) -> None:
    """Which of the sets are in the data directory, and how large they are."""
    from rich.table import Table

    from mlbench.core.plain_console import PlainConsole
    from mlbench.data.datasets.downloads import DOWNLOADS, TREEBANKS

    table = Table("name", "file", "state", "size", box=None)
    for name in EMBEDDED:
        table.add_row(name, "(inside scikit-learn)", "there", "")
    for name, (_, megabytes) in DOWNLOADS.items():
        path = folder / f"{name}.npz"
        there = path.is_file()
        size = f"{path.stat().st_size / 1e6:.0f} MB" if there else f"{megabytes} MB to download"
        table.add_row(name, path.name, "there" if there else "missing", size)
    for name, (*_, megabytes) in TREEBANKS.items():
        add_folder(table, folder / name, "*.conllu", f"{megabytes} MB to download")
    add_folder(table, folder / "spoken_digits", "recordings/*.wav", "")
    known = {f"{name}.npz" for name in DOWNLOADS}
    for path in sorted(folder.glob("*.npz")) if folder.is_dir() else []:
        if path.name not in known:
            table.add_row(f"npz data.path={path.name}", path.name, "there", f"{path.stat().st_size / 1e6:.0f} MB")
    console = PlainConsole()
    console.print(f"data_dir={folder}", soft_wrap=True)  # a path that can be copied
    console.print(table)


def add_folder(table: "Table", folder: Path, pattern: str, otherwise: str) -> None:
    """A row for data that are a folder of files."""
    sizes = [path.stat().st_size for path in folder.glob(pattern)]
    size = f"{sum(sizes) / 1e6:.0f} MB" if sizes else otherwise
    table.add_row(folder.name, f"{folder.name}/{pattern}", "there" if sizes else "missing", size)


def get_data(name: str, folder: Path) -> None:
    """Fetch one set into the data directory."""
    from mlbench.data.datasets.downloads import DOWNLOADS, TREEBANKS

    names = [*DOWNLOADS, *TREEBANKS]
    if name not in names:
        raise UserError(f"no download called {name}{nearest(name, names)}\nthere are: {', '.join(names)}")
    path = folder / (f"{name}.npz" if name in DOWNLOADS else name)
    if path.exists():
        print(f"{path} is there already")
        return
    if name in DOWNLOADS:
        from mlbench.data.datasets.torchvision import fetch
    else:
        from mlbench.data.datasets.treebank import fetch

    print(f"wrote {fetch(name, folder)}")
