"""Tables of numbers: a .csv of the user's own, or one of those that come with scikit-learn."""

import csv
import io
import math
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from mlbench.core.errors import SettingError, UserError, nearest, require
from mlbench.core.input_files import read_text
from mlbench.core.user_path import user_path
from mlbench.data.class_names import class_names
from mlbench.data.dataset import Arrays, Source
from mlbench.data.modality import Tables
from mlbench.data.normalisation import Normalise

LARGEST = float(np.finfo(np.float32).max)  # what networks compute with
WHOLE = re.compile(r"[+-]?\d{1,18}")
FEWEST = 2  # rows of each class: one to learn from, one to be tested on


@dataclass(kw_only=True)
class TableSource(Source):
    """Rows of numbers with a class each, of which a stratified share is for testing.

    Args:
        normalise: `standardise` (each feature has mean 0 and standard deviation 1 over all training rows), `first_task`
            (over those of a stream's first task), or `none`.
        test_share: The share of the rows that is for testing; the same rows at every seed.
    """

    # pyrefly: ignore[bad-override]  # the words differ: tables have no `unit`, pictures no `none`
    normalise: Literal["standardise", "first_task", "none"] = field(default="standardise")
    test_share: float = 0.25

    def __post_init__(self):
        super().__post_init__()
        require(0 < self.test_share < 1, "test_share", self.test_share, "above 0 and below 1")

    def normaliser(self, arrays: Arrays) -> Normalise:
        """Constants of the training rows, or none at all."""
        if self.normalise != "none":
            return Normalise.of_features(arrays.x_train)
        features = arrays.x_train.shape[1]
        return Normalise(torch.zeros(1, features), torch.ones(1, features))

    def split_rows(self, rows: np.ndarray, labels: np.ndarray, features: list[str], classes: list[str]) -> Arrays:
        """Training and test rows, classes in equal shares.

        Args:
            rows: float [N, F].
            labels: int [N].
            features: F names.
            classes: Their names.

        Raises:
            SettingError: Where a share would leave a class without rows.
        """
        from sklearn.model_selection import train_test_split

        try:
            parts = train_test_split(rows, labels, test_size=self.test_share, random_state=0, stratify=labels)
        except ValueError as error:
            raise SettingError(
                "test_share", self.test_share, f"a share that leaves rows of every class ({error})"
            ) from error
        x_train, x_test = (torch.from_numpy(np.ascontiguousarray(part, dtype=np.float32)) for part in parts[:2])
        y_train, y_test = (torch.from_numpy(part.astype(np.int64)) for part in parts[2:])
        for part, y in (("to learn from", y_train), ("for testing", y_test)):
            if without := [name for label, name in enumerate(classes) if not (y == label).any()]:
                missing = f"a share that leaves rows of every class (no row {part} of {', '.join(without)})"
                raise SettingError("test_share", self.test_share, missing)
        return Arrays(x_train, y_train, x_test, y_test, classes, Tables(tuple(features)))


@dataclass(kw_only=True)
class ExampleTable(TableSource):
    """A table that comes with scikit-learn: 178 wines (13 chemical measurements, 3 growers) or 569 breast tumours
    (30 measurements of cell nuclei, malignant or benign), from the UCI repository."""

    name: Literal["wine", "breast_cancer"]

    def load(self, data_dir: Path) -> Arrays:  # noqa: ARG002
        """Read it from the installed package."""
        from sklearn import datasets

        table: Any = {"wine": datasets.load_wine, "breast_cancer": datasets.load_breast_cancer}[self.name]()
        features, classes = [str(name) for name in table.feature_names], [str(name) for name in table.target_names]
        return self.split_rows(table.data, table.target, features, classes)


@dataclass(kw_only=True)
class Table(TableSource):
    """A .csv file with a line of names, numbers in every column but `target`, which holds the class.

    Args:
        path: The file; one that is not absolute is looked up here first, then in `data_dir`.
        target: The column with the class.
        ignore: Columns that are left out, such as a row number.
    """

    path: str
    target: str
    ignore: list[str] = field(default_factory=list)

    def files(self, data_dir: Path) -> list[Path]:
        """The file."""
        here = user_path(self.path)
        return [here if here.exists() else data_dir / here]

    def load(self, data_dir: Path) -> Arrays:
        """Read and check the file. Raises UserError naming the line and the column of what is wrong."""
        (path,) = self.files(data_dir)
        header, lines = read_csv(path)
        for name, column in [("target", self.target), *(("ignore", column) for column in self.ignore)]:
            if column not in header:
                raise UserError(f"data.{name}={column}: {path} has no such column{nearest(column, header)}")
        features = [name for name in header if name != self.target and name not in self.ignore]
        if not features:
            raise UserError(f"{path} has no column of numbers beside {self.target}")
        places = [header.index(name) for name in features]
        rows = np.array([[number(path, n, header[k], line[k]) for k in places] for n, line in lines], dtype=np.float64)
        targets = [line[header.index(self.target)].strip() for _, line in lines]
        found = ordered_classes(path, self.target, targets)
        number_of = {name: label for label, name in enumerate(found)}
        labels = np.array([number_of[name] for name in targets])
        return self.split_rows(rows, labels, features, class_names(found, f"{path}, column {self.target}"))


def read_csv(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """(names of columns, (line number, cells) of each row). Raises UserError."""
    try:
        reader = csv.reader(io.StringIO(read_text(path, most=None), newline=""), strict=True)
        header = [name.strip() for name in next(reader, [])]
        lines = [(reader.line_num, cells) for cells in reader if cells]
    except FileNotFoundError:
        raise UserError(f"data file {path} does not exist; data.path=FILE names a .csv") from None
    except (OSError, UserError, csv.Error) as error:
        raise UserError(f"{path} is not a readable .csv in UTF-8 ({error})") from error
    if not header or len(set(header)) < len(header) or not all(header):
        raise UserError(f"{path}: the first line must name every column, each once")
    for place, cells in lines:
        if len(cells) != len(header):
            raise UserError(f"{path}, line {place}: {len(cells)} cells; the first line names {len(header)} columns")
    if not lines:
        raise UserError(f"{path} has no rows")
    return header, lines


def number(path: Path, line: int, column: str, cell: str) -> float:
    """A cell as a finite number that single precision can hold. Raises UserError."""
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not abs(value) <= LARGEST:
        raise UserError(
            f"{path}, line {line}: {column} is '{cell}', and needed is a number\n"
            f"fill in or remove such rows, or leave the column out with data.ignore=[{column}]"
        )
    return value


def ordered_classes(path: Path, target: str, targets: list[str]) -> list[str]:
    """The classes in order: by number where all are whole numbers, else by name. Raises UserError."""
    names = Counter(targets)
    if "" in names:
        raise UserError(f"{path}: a row has no class in {target}")
    whole = all(WHOLE.fullmatch(name) for name in names)
    few = sorted(names, key=(lambda name: (int(name), name)) if whole else str)
    if len(few) < 2:
        raise UserError(f"{path}: {target} has the one class {few[0]}; there is nothing to tell apart")
    if rare := [name for name in few if names[name] < FEWEST]:
        hint = "; a column of measurements is no class" if len(rare) > len(few) // 2 else ""
        raise UserError(f"{path}: class {rare[0]} of {target} has one row, and needed are {FEWEST} or more{hint}")
    return few
