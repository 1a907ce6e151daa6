"""Photographs without labels: one's own, or those that scikit-image and scikit-learn carry."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from mlbench.core.errors import UserError, require
from mlbench.core.user_path import user_path
from mlbench.data.dataset import Data
from mlbench.data.datasets.picture_files import images
from mlbench.data.normalisation import Normalise
from mlbench.data.output_heads import SharedHead
from mlbench.data.picture_decoder import SUFFIXES, decode_pictures
from mlbench.data.split import Pool, Split
from mlbench.data.stream import Stream, Task

# packages whose folders hold photographs of single things, and which of these are taken
CARRIED = {
    "skimage": ("data", ("chelsea.png", "coffee.png", "camera.png", "motorcycle_left.png", "rocket.jpg")),
    "sklearn": ("datasets/images", ("flower.jpg", "china.jpg")),
}
SIDE = 224  # pixels, for a network that says nothing of its own
NO_LABEL = "no label"


@dataclass
class Photos(Data):
    """Photographs to predict and to explain, without labels; the network's own classes are the answers.

    Each is cut to a square around the middle, as the network was trained, and scaled to its size.

    Args:
        path: Files and folders; None for the photographs that scikit-image and scikit-learn carry, a cat first.
        size: Pixels per side; None takes those of the network.
    """

    path: str | list[str] | None
    size: int | None
    labelled: ClassVar[bool] = False

    def __post_init__(self):
        require(self.size is None or 4 <= self.size <= 4096, "size", self.size, "4 to 4096 pixels, or null")
        require(self.path != [], "path", self.path, "files and folders, or null")

    def files(self, data_dir: Path) -> list[Path]:  # noqa: ARG002
        """The files and folders."""
        if self.path is None:
            return []
        return [user_path(path) for path in ([self.path] if isinstance(self.path, str) else self.path)]

    def stream(self, data_dir: Path, generator: torch.Generator) -> Stream:  # noqa: ARG002
        """All photographs, in the order of their names, as the test data and as what there is to train on."""
        paths = photographs(self.files(data_dir)) if self.path is not None else carried()
        record = self.record
        known = Normalise.of_record(record) if record is not None else None
        if record is not None and known is None:
            raise UserError(
                "how the network normalises photographs is not known: set model.mean and model.std (of 0 to 255)\n"
                "as in model.mean=[123.7,116.3,103.5] model.std=[58.4,57.1,57.4], those of most ImageNet networks"
            )
        size = self.size or (record.side if record else None) or SIDE
        grey = known is not None and known.mean.numel() == 1
        crop = record.crop if record else 1.0
        found = list(decode_pictures(paths, size, grey, crop))
        pictures = torch.from_numpy(np.stack(found))  # [n, C, size, size]
        normalise = known or Normalise.fitted(pictures)
        places = torch.arange(len(paths))
        split = Split(Pool(pictures), places, torch.zeros_like(places), 0, normalise)
        task = Task("photographs", split, split, files=paths, crop=crop, labelled=False)
        return Stream([task], None, 1, [NO_LABEL], SharedHead())


def photographs(given: list[Path]) -> list[Path]:
    """The pictures in files and folders. Raises UserError where one is missing, or a folder holds none."""
    found = []
    for path in given:
        if path.is_dir():
            if not (inside := images(path)):
                raise UserError(f"{path} holds no pictures ({', '.join(sorted(SUFFIXES))})")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise UserError(f"{path} does not exist; give a picture or a folder of pictures")
    return found


def carried() -> list[Path]:
    """The photographs in installed packages. Raises UserError where there are none."""
    found = []
    for package, (folder, names) in CARRIED.items():
        if (spec := find_spec(package)) is not None and spec.origin:
            found += [path for name in names if (path := Path(spec.origin).parent / folder / name).is_file()]
    if not found:
        raise UserError("data=photos without data.path takes those of scikit-image; pip install 'mlbench[explain]'")
    return found
