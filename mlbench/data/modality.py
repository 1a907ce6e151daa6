"""What examples can be beside pictures, texts and sounds, and what is known of them beside their label."""

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor

from mlbench.core.to_device import Moves

if TYPE_CHECKING:
    from mlbench.data.mel_spectrogram import LogMel
    from mlbench.data.split import Split

PAD = 0  # the id of what stands behind the end of a text


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
