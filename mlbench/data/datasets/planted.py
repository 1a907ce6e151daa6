"""Pictures with a known answer: a small texture at a random place decides the label, or goes along with it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from mlbench.core.errors import SettingError, require
from mlbench.data import patches
from mlbench.data.dataset import Data, Source, check_complete
from mlbench.data.normalisation import Normalise
from mlbench.data.split import Pool, Split
from mlbench.data.stream import Planted, Stream, Task

CANDIDATES = 256  # drawn for each texture; the one least like those before it is taken


@dataclass
class PlantedTexture(Data):
    """A texture of `size` x `size` black and white pixels is put over each picture of `source`, at a random place.

    `label=texture`: which of the `textures` it is decides the label, and what the picture shows does not; a known
    answer for explanations. `label=own`: pictures keep their label, of which the first `textures` classes are used,
    and the share `share` of the training pictures has the texture of its class: a shortcut for the network. All test
    pictures have theirs; the same pictures without it stand beside them (`Task.planted`).
    """

    source: Source
    label: Literal["texture", "own"]
    textures: int
    size: int | None
    share: float

    def __post_init__(self):
        check_complete(self.source, limits=False)
        require(2 <= self.textures <= 100, "textures", self.textures, "2 to 100")
        require(self.size is None or 2 <= self.size <= 64, "size", self.size, "2 to 64 pixels, or null")
        require(0 <= self.share <= 1, "share", self.share, "0 to 1")
        whole = self.label == "own" or self.share == 1
        require(whole, "share", self.share, "1 with label=texture, where nothing else decides")

    def files(self, data_dir: Path) -> list[Path]:
        """Return the files of the source."""
        return self.source.files(data_dir)

    def stream(self, data_dir: Path, generator: torch.Generator) -> Stream:
        """One task. Textures are the same at every seed; places, and labels that they decide, are drawn."""
        base = self.source.stream(data_dir, generator)
        task, (_, *sides) = base.tasks[0], base.input_shape
        height, width = sides
        size = self.size or patches.side((height, width))
        require(size < min(sides), "size", size, f"less than the pictures' {min(sides)} pixels")
        there_are = 2 ** min(size * size, 7)  # patterns; more than are allowed is enough to know
        require(self.textures <= there_are, "textures", self.textures, f"up to {there_are} of {size}x{size} pixels")
        patterns = textures(self.textures, size)
        classes = [f"texture {number}" for number in range(self.textures)]
        if self.label == "own":
            classes = base.classes[: self.textures]
            if len(classes) < self.textures:
                raise SettingError("textures", self.textures, f"up to the {len(classes)} classes")
        train, corners = self.add_textures(task.train, patterns, self.share, generator)
        test, test_corners = self.add_textures(task.test, patterns, 1.0, generator)
        normalise = task.train.normalise
        if self.source.normalise == "standardise":
            normalise = Normalise.fitted(train.pool.examples)
        clean = self.selection(task.test)
        clean = replace(clean, normalise=normalise, labels=test.labels)
        train, test = (replace(split, normalise=normalise) for split in (train, test))
        answer = Planted(corners, test_corners, size, clean)
        tasks = [Task(task.name, train, test, planted=answer)]
        remarks = list(base.remarks)
        if task.validation is not None:
            remarks.append(f"{len(task.validation)} validation examples are left out: they have no textures")
        return replace(base, tasks=tasks, outputs=len(classes), classes=classes, remarks=remarks)

    def selection(self, split: Split) -> Split:
        """Return the examples of the classes that are used."""
        if self.label == "texture":
            return split
        return split.take((split.labels < self.textures).nonzero().squeeze(1))

    def add_textures(
        self, split: Split, patterns: Tensor, share: float, generator: torch.Generator
    ) -> tuple[Split, Tensor]:
        """Return the examples with textures, in their own pool, and the corner [n, 2] of each, -1 for no texture."""
        split = self.selection(split)
        pictures, count, size = split.raw(split.places), len(split), patterns.shape[-1]
        labels = split.labels
        if self.label == "texture":
            labels = torch.randint(0, len(patterns), (count,), generator=generator)
        ends = [side - size + 1 for side in pictures.shape[2:]]
        corners = torch.stack([torch.randint(0, end, (count,), generator=generator) for end in ends], 1)
        corners[torch.randperm(count, generator=generator)[round(share * count) :]] = -1
        plant(pictures, patterns[labels], corners)
        return replace(split, pool=Pool(pictures), rows=torch.arange(count), labels=labels), corners


def plant(pictures: Tensor, patterns: Tensor, corners: Tensor) -> None:
    """Put patterns [n, S, S] into pictures uint8 [n, C, H, W], in place, where corners [n, 2] are not negative."""
    places = (corners[:, 0] >= 0).nonzero().squeeze(1)
    size = torch.arange(patterns.shape[-1])
    rows = corners[places, 0, None, None] + size[:, None]  # [n, S, 1]
    columns = corners[places, 1, None, None] + size  # [n, 1, S]
    for channel in range(pictures.shape[1]):
        pictures[places[:, None, None], channel, rows, columns] = patterns[places]


def textures(count: int, size: int) -> Tensor:
    """Patterns of black and white pixels, uint8 [count, size, size], always the same, each unlike those before it."""
    generator = torch.Generator().manual_seed(0)
    candidates = torch.randint(0, 2, (count, CANDIDATES, size * size), generator=generator)
    patterns = [candidates[0, 0]]
    for options in candidates[1:]:
        unlike = torch.stack([(options != other).sum(1) for other in patterns]).amin(0)  # [CANDIDATES]
        patterns.append(options[unlike.argmax()])
    return (255 * torch.stack(patterns)).to(torch.uint8).view(count, size, size)
