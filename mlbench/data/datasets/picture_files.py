"""Which files of a folder are pictures for training, validation and testing, and which are left out."""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from mlbench.core.errors import UserError
from mlbench.data.class_names import class_names
from mlbench.data.picture_decoder import SUFFIXES

VALIDATION = ("val", "valid", "validation")  # names of the folder with pictures for validation
EVERY = 5  # of a class without a test folder, the fifth picture of five is for testing
TOLD = 5  # folders with files left out that are told one by one
NAMED = 8  # classes that are named in a message
# why files are left out; others are counted by their ending
REASONS = ("in sub-folders", "that cannot be opened", "beside the folders of classes", "in a folder that is no part")
IN_FOLDERS, NO_FILE, BESIDE, UNUSED = REASONS


@dataclass
class Listing:
    """The pictures of a dataset: `files` holds (file, label) pairs in a fixed order for each of train, test and val."""

    classes: list[str]
    files: dict[str, list[tuple[Path, int]]]  # without "val" where there is no such folder
    remarks: list[str]  # what was left out, a line each


def list_pictures(root: Path) -> Listing:
    """List a folder: train/, test/ and perhaps val/ that hold a folder for each class, or these folders alone.

    Without train/ and test/, every fifth picture of a class is for testing, and the last one of a class of 2 to 4.

    Raises:
        UserError: If folders are missing or ambiguous, or a class has no pictures, or a single one to be divided.
    """
    if not root.is_dir():
        hint = "; data=npz reads a .npz" if root.suffix.lower() == ".npz" else ""
        raise UserError(f"{root} {'is a file' if root.exists() else 'does not exist'}, not a folder of pictures{hint}")
    names = subfolders(root)
    validation = [name for name in VALIDATION if name in names]
    divided = "train" in names and "test" in names
    if not divided and "train" in names and (validation or len(names) == 1):
        other = f"; if {validation[0]}/ is what you test on, rename it test/" if validation else ""
        raise UserError(f"{root} holds {' and '.join(f'{n}/' for n in ('train', *validation))} and no test/{other}")
    if divided and len(validation) > 1:
        raise UserError(f"{root} holds {' and '.join(f'{name}/' for name in validation)}; one of them can be used")
    classes = subfolders(root / "train") if divided else names
    if len(classes) < 2:
        raise UserError(f"{root}: needed are folders of pictures, one a class (or train/ and test/ holding these)")
    if not divided:
        places = [root / name for name in classes]
        return Listing(class_names(classes, root), divide(root, classes), left_out(root, places, [root], []))
    folders = {"train": root / "train", "test": root / "test"}
    if validation:
        folders["val"] = root / validation[0]
    files = {part: list_part(folder, classes) for part, folder in folders.items()}
    places = [folder / name for folder in folders.values() for name in classes]
    used = {label for part in files.values() for _, label in part}
    refuse_empty(root, [name for label, name in enumerate(classes) if label not in used], places)
    for part, entries in files.items():
        if not entries:
            raise UserError(f"{folders[part]} holds no pictures in its folders of classes")
    unused = [root / name for name in names if root / name not in folders.values()]
    return Listing(class_names(classes, root), files, left_out(root, places, [root, *folders.values()], unused))


def list_part(folder: Path, classes: list[str]) -> list[tuple[Path, int]]:
    """The pictures in <folder>/<class>/ for training, validation or testing. Raises UserError for unknown classes."""
    if unknown := [name for name in subfolders(folder) if name not in classes]:
        raise UserError(f"{folder} holds classes that are not in {folder.parent / 'train'}: {some(unknown)}")
    return [(path, label) for label, name in enumerate(classes) for path in images(folder / name)]


def divide(root: Path, classes: list[str]) -> dict[str, list[tuple[Path, int]]]:
    """Pictures of <root>/<class>/ for training and testing, both of every class. Raises UserError."""
    found = [images(root / name) for name in classes]
    empty = [name for name, paths in zip(classes, found, strict=True) if not paths]
    refuse_empty(root, empty, [root / name for name in classes])
    if single := [name for name, paths in zip(classes, found, strict=True) if len(paths) == 1]:
        raise UserError(f"{root}: a single picture of {some(single)}; needed are 2, one to learn from and one to test")
    files: dict[str, list[tuple[Path, int]]] = {"train": [], "test": []}
    for label, paths in enumerate(found):
        turn = min(EVERY, len(paths))  # which picture is for testing
        for number, path in enumerate(paths):
            files["test" if number % EVERY == turn - 1 else "train"].append((path, label))
    return files


def refuse_empty(root: Path, names: list[str], places: list[Path]) -> None:
    """Raise UserError if there are classes without a picture in their folders among `places`."""
    if names:
        inside = any(place.name in names and subfolders(place) for place in places)
        hint = "; what is in folders inside them is left out" if inside else ""
        raise UserError(f"{root}: no pictures of {some(names)}{hint}\nadd pictures there, or take the folders away")


def some(names: list[str]) -> str:
    """Names as a list, of which the first are told."""
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def visible(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder, in order, without hidden files and folders as .DS_Store, ._1.png, .ipynb_checkpoints.

    Nothing where there is no such folder. Raises UserError where it may not be read.
    """
    if not folder.is_dir():
        return []
    try:
        with os.scandir(folder) as entries:
            return sorted((e for e in entries if not e.name.startswith(".")), key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}") from error


def subfolders(folder: Path) -> list[str]:
    """The names of the folders in a folder, sorted; none without it."""
    return [entry.name for entry in visible(folder) if entry.is_dir()]


def images(folder: Path) -> list[Path]:
    """The pictures of a folder, sorted by name; none when it does not exist."""
    return [folder / entry.name for entry in visible(folder) if has_picture_ending(entry.name) and entry.is_file()]


def has_picture_ending(name: str) -> bool:
    """Whether a file of this name should be a picture."""
    return Path(name).suffix.lower() in SUFFIXES


def left_out(root: Path, of_classes: list[Path], holders: list[Path], unused: list[Path]) -> list[str]:
    """Lines that count the files below `root` that are in no part, for each folder or, of many, for all together.

    Args:
        root: The folder of the dataset.
        of_classes: Folders whose pictures are used.
        holders: Folders that hold folders of classes.
        unused: Folders of which nothing is used.
    """
    found = {place: left_out_of_class(place) for place in of_classes}
    found |= {place: Counter({BESIDE: len(images(place))}) for place in holders}
    found |= {place: Counter({UNUSED: files_below(place)}) for place in unused}
    found = {place: counts for place, counts in found.items() if counts.total()}
    if len(found) > TOLD:
        return [count_line(f"{len(found)} folders of {root.name}", sum(found.values(), Counter()))]
    return [count_line(f"{(root.name / place.relative_to(root))}/", counts) for place, counts in found.items()]


def left_out_of_class(folder: Path) -> Counter[str]:
    """How many files in a folder of pictures are none: in folders inside it, not to be opened, or by ending."""
    counts = Counter()
    for entry in visible(folder):
        if entry.is_dir():
            counts[IN_FOLDERS] += files_below(folder / entry.name)
        elif not has_picture_ending(entry.name):
            counts[Path(entry.name).suffix or "none"] += 1
        elif not entry.is_file():
            counts[NO_FILE] += 1
    return counts


def files_below(folder: Path) -> int:
    """The number of files in a folder and in those inside it, without hidden ones."""
    return sum(
        not name.startswith(".")
        for place, _, names in os.walk(folder)
        if not any(part.startswith(".") for part in Path(place).relative_to(folder).parts)
        for name in names
    )


def count_line(place: str, counts: Counter[str]) -> str:
    """A remark such as: 3 files left out in cats/: 1 in sub-folders, 2 with endings that are not pictures (.heic)."""
    told = [f"{counts[reason]} {reason}" for reason in REASONS if counts[reason]]
    if endings := sorted(set(counts) - set(REASONS)):
        number = sum(counts[ending] for ending in endings)
        told.append(f"{number} with endings that are not pictures ({some(endings)})")
    return f"{counts.total()} file{'s' if counts.total() > 1 else ''} left out in {place}: {', '.join(told)}"
