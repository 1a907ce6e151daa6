"""The layout of a run's folder and of a sweep's: the names of files, and the numbers of their schemas. No torch."""

import json
from pathlib import Path

SCHEMA = 1  # of summary.json
TABLES_SCHEMA = 1  # of the tables: raised when a column changes its meaning, not when one is added

# files of a run
SUMMARY = "summary.json"  # written last: a run that has it is finished
CONFIG = "config.yaml"
ENVIRONMENT = "env.json"
ERROR = "error.json"  # what ended a run that is not finished
METRICS = "metrics.jsonl"
RESULT_TABLE = "table.md"
TRACKER = "tracker.json"  # which run of the tracker this folder is, and how much of METRICS it has
LOCK = ".lock"

# folders of a run
FIGURES = "figures"
ARTEFACTS = "artefacts"
CHECKPOINTS = "checkpoints"
FITS = "fits"  # in CHECKPOINTS: the finished trainings of a run that makes several
HYDRA = ".hydra"
TRACKER_FOLDERS = ("wandb", "tensorboard")  # what others write

# files in CHECKPOINTS, ARTEFACTS and HYDRA
MODEL = "model"  # without the ending, one of NETWORK_ENDINGS
NETWORK_ENDINGS = (
    ".safetensors",
    ".pt",
)  # the second of older runs, and where JSON cannot hold what is beside the weights
LAST = "last.pt"  # the state from which an interrupted run continues
MAPS = "maps.npz"
GROUP_NAMES = "names.yaml"  # the choice of each config group

# tables of a run
ACCURACY_MATRIX = "accuracy_matrix.csv"
TASKS = "tasks.csv"
ROUNDS = "rounds.csv"
POINTS = "points.csv"
SCORES = "scores.csv"
PREDICTIONS = "predictions.csv"
CURVES = "curves.csv"
RANDOMISATION = "randomisation.csv"
LAYERS = "layers.csv"
PROBES = "probes.csv"
CLASS_COUNTS = "class_counts.csv"  # examples of each class in each part of the data
CLASSES = "classes.csv"  # precision and recall of a classifier
CONFUSION = "confusion.csv"
RELIABILITY = "reliability.csv"

# files of a sweep
JOBS = "jobs.jsonl"
FAILURES = "failures.txt"
SWEEP_TABLE = "sweep.csv"
COMPARISON_TABLE = "comparison.csv"
ORDERS_TABLE = "orders.csv"
MULTIRUN = "multirun.yaml"  # written by Hydra at the beginning of a sweep


def is_finished(folder: Path) -> bool:
    """Whether the run of this folder has finished: a summary.json that a power cut has left empty says nothing."""
    path = folder / SUMMARY
    try:
        if not path.is_file():  # which a pipe is not, on which one would wait
            return False
        return isinstance(json.loads(path.read_bytes()), dict)
    except (OSError, ValueError, RecursionError):
        return False


def is_unfinished(folder: Path) -> bool:
    """Whether this is the folder of a run that still runs or was interrupted."""
    begun = (folder / ENVIRONMENT).exists() or (folder / HYDRA).is_dir()
    return (folder / CONFIG).exists() and begun and not is_finished(folder)
