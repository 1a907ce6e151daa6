"""What examples can be beside pictures, texts and sounds, and what is known of them beside their label."""

import hashlib
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

if TYPE_CHECKING:
    from mlbench.data.spectrogram import LogMel
    from mlbench.data.tasks import Split

PAD = 0  # the id of what stands behind the end of a text


class Moves:
    """A dataclass that goes to a device with all its tensors and what else can move."""

    def to(self, device: torch.device) -> Self:
        """On `device`."""
        parts = {each.name: moved(getattr(self, each.name), device) for each in fields(self)}
        return replace(self, **parts)


def moved(part: object, device: torch.device) -> object:
    """A tensor, a dict of them, or something with a method `to`, on `device`; anything else as it is."""
    if isinstance(part, dict):
        return {name: moved(each, device) for name, each in part.items()}
    return part.to(device) if hasattr(part, "to") else part


@dataclass
class Items(Moves):
    """What is known of the examples of one split, or of the words in them."""

    rows: Tensor  # [n] the example that each item is, or stands in: a place in the split
    labels: dict[str, Tensor]  # property -> [n] int64, numbers of its values
    spans: Tensor | None = (
        None  # [n, 2] the first word piece of a word and the one after its last; None: whole examples
    )
    forms: Tensor | None = None  # [n] int64, which word it is: the same number for the same word in every split

    def __len__(self) -> int:
        return len(self.rows)


@dataclass
class Properties(Moves):
    """What can be asked of the layers of a network, beside what it was trained for."""

    values: dict[str, list[str]]  # property -> the names of its values
    train: Items
    test: Items
    validation: Items | None = None  # of `Task.validation`


@dataclass
class Text(Moves):
    """Examples are rows of word pieces, ids int32 [N, L], PAD behind the last."""

    pieces: list[str]  # what each id stands for; "##" begins one that goes on with a word
    special: list[int]  # ids that stand for no text, PAD among them
    mask: int  # the id that covers a piece
    opening: int  # the id that begins a text
    packed: "Split | None" = field(default=None)  # the training texts, several in a row: to pretrain on

    @property
    def spelling(self) -> str:
        """A short name for what each id stands for: a network reads texts of one spelling only."""
        return hashlib.sha256("\n".join(self.pieces).encode()).hexdigest()[:16]


@dataclass
class Sound(Moves):
    """Examples are spectrograms [1, bands, frames], silence behind the end."""

    mel: "LogMel"  # how they were made of waves, and how waves are made of them
    train: Tensor  # [N] frames of each in the training pool, without the silence
    test: Tensor  # [M] the same of the test pool
