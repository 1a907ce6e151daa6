"""The classic sets, fetched once through torchvision and kept as one `.npz` each."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mlbench.core.atomic_io import new_folder, write_whole
from mlbench.core.errors import RunError, UserError
from mlbench.data.dataset import Arrays, Source
from mlbench.data.datasets.downloads import DOWNLOADS, VisionName
from mlbench.data.npz_format import read_npz


@dataclass(kw_only=True)
class Vision(Source):
    """A torchvision set by its mlbench name, read from `<data_dir>/<name>.npz`, which is made on first use."""

    name: VisionName

    def files(self, data_dir: Path) -> list[Path]:
        """The file."""
        return [data_dir / f"{self.name}.npz"]

    def load(self, data_dir: Path) -> Arrays:
        """Read the file, after fetching it if it is missing. Raises UserError when it cannot be fetched."""
        (path,) = self.files(data_dir)
        if not path.exists():
            fetch(self.name, data_dir)
        return read_npz(path)


def fetch(name: VisionName, data_dir: Path) -> Path:
    """Download `name`, let torchvision check it, and write `<data_dir>/<name>.npz` whole or not at all.

    Raises UserError when torchvision is missing or the download is impossible.
    """
    path = data_dir / f"{name}.npz"
    try:
        from torchvision import datasets
    except ImportError as error:
        raise UserError(
            f"{path} is missing and torchvision, which fetches it, is not installed; pip install 'mlbench[vision]'"
        ) from error
    kind = getattr(datasets, DOWNLOADS[name][0])
    options = [{"split": "train"}, {"split": "test"}] if name == "svhn" else [{"train": True}, {"train": False}]
    try:
        with new_folder(data_dir), tempfile.TemporaryDirectory(dir=data_dir, prefix=f".{name}.") as root:
            train, test = (kind(root=root, download=True, **option) for option in options)
            arrays = {**pictures(train, "train"), **pictures(test, "test")}
            if hasattr(train, "classes"):
                arrays["classes"] = np.array(train.classes)
            # pyrefly: ignore[bad-argument-type]  # no array is called allow_pickle
            write_whole(path, lambda stream: np.savez(stream, **arrays))
    except (OSError, RuntimeError, RunError) as error:
        reason = str(error).strip().rstrip(":").splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{name} could not be fetched ({reason})\nput it at {path} (format: see the manual)") from error
    return path


class VisionSet(Protocol):
    """What all of torchvision's sets have; labels are called `targets` or `labels`."""

    data: Any  # an array, a tensor or a list of pictures


def pictures(dataset: VisionSet, split: str) -> dict[str, np.ndarray]:
    """x and y of a torchvision set as arrays: uint8 [N, H, W] or [N, H, W, C], integers [N]."""
    x = np.asarray(dataset.data)
    if x.ndim == 4 and x.shape[1] == 3:  # SVHN stores [N, C, H, W]
        x = x.transpose(0, 2, 3, 1)
    y = np.asarray(getattr(dataset, "targets" if hasattr(dataset, "targets") else "labels"))
    return {f"x_{split}": np.ascontiguousarray(x), f"y_{split}": y}
