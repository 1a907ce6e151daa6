"""From what a user has, a file or a text, to an example as a network takes it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from mlbench.core.errors import UserError, need
from mlbench.core.input_files import read_text
from mlbench.core.user_path import user_path
from mlbench.data.audio import spectrograms
from mlbench.data.datasets.photos import photographs
from mlbench.data.mel_spectrogram import LogMel
from mlbench.data.modality import SOUND
from mlbench.data.picture_decoder import READ_ERRORS, decode_image, decode_picture
from mlbench.data.text import rows
from mlbench.data.tokenizer import Pieces
from mlbench.data.wave_files import read_wave

CHANNELS = (1, 3)  # of a picture: grey, or red, green and blue
Named = list[tuple[str, Any]]  # a name for people, and what is read


class ExampleReader(Protocol):
    """Reads one kind of examples, of the shape that a network takes."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of an example."""
        ...

    noun: ClassVar[str]  # what a word of a command line names: `file` or `text`

    def read(self, example: Any) -> Tensor:
        """An example as networks take it, [1, ...]. Raises UserError for what is none."""
        ...

    def named(self, words: list[str]) -> Named:
        """What words of a command line name. Raises UserError for what is not there."""
        ...


@dataclass(frozen=True)
class PictureReader:
    """Reads pictures: cut to a square around the middle, scaled, grey where the network is.

    Args:
        shape: Of an example.
        numbers: Whether examples are numbers, and no ids.
        crop: Share of the shorter side that is kept.
    """

    shape: tuple[int, ...]
    numbers: bool
    crop: float
    noun: ClassVar[str] = "file"

    def check(self) -> None:
        """Raise UserError where examples are not square pictures."""
        shape = "x".join(str(side) for side in self.shape)
        if not self.numbers or len(self.shape) != 3 or self.shape[0] not in CHANNELS or self.shape[1] != self.shape[2]:
            raise UserError(f"this network takes {'numbers' if self.numbers else 'ids'} of {shape}, no square pictures")

    def read(self, example: str | Path | np.ndarray | Any) -> Tensor:
        """uint8 [1, C, H, W] of a file, an image of Pillow, or uint8 [H, W], [H, W, 1] or [H, W, 3]."""
        from PIL import Image

        self.check()
        channels, side, _ = self.shape
        about = (side, channels == 1, self.crop)
        if isinstance(example, str | Path):
            return torch.from_numpy(decode_picture(Path(example), *about))[None]
        if isinstance(example, np.ndarray):
            plain = example.squeeze(-1) if example.ndim == 3 and example.shape[-1] == 1 else example
            if plain.dtype != np.uint8 or plain.ndim not in (2, 3) or (plain.ndim == 3 and plain.shape[-1] != 3):
                shape = "x".join(map(str, example.shape))
                raise UserError(f"a picture is uint8 of [H, W] or [H, W, 3], not {example.dtype} of {shape}")
            example = Image.fromarray(plain)
        if not isinstance(example, Image.Image):
            raise UserError(f"a picture is a file, an image of Pillow or an array, not {type(example).__name__}")
        try:
            return torch.from_numpy(decode_image(example, *about))[None]
        except READ_ERRORS as error:
            raise UserError(f"this is not a picture that can be read ({error})") from error

    def named(self, words: list[str]) -> Named:
        """Pictures among files and in folders."""
        self.check()
        return [(str(path), path) for path in photographs([user_path(word) for word in words])]


@dataclass(frozen=True)
class SoundReader:
    """Reads wav files as log-mel spectrograms.

    Args:
        shape: Of an example, 1, bands, frames; shorter ones end in silence, longer ones are cut.
        mel: Makes the spectrograms.
        loudness: Root mean square to which a wave is brought; None leaves it.
    """

    shape: tuple[int, ...]
    mel: LogMel
    loudness: float | None
    noun: ClassVar[str] = "file"

    def read(self, example: str | Path | np.ndarray) -> Tensor:
        """Float [1, 1, bands, frames] of a mono file, or of a wave [n] of -1 to 1 at the rate of the network."""
        if isinstance(example, np.ndarray):
            wave = torch.as_tensor(example, dtype=torch.float32)
        else:
            wave = read_wave(user_path(example), self.mel.rate, self.loudness)
        if wave.dim() != 1 or not len(wave):
            raise UserError(f"a sound is a wave [n], not {list(wave.shape)}")
        return spectrograms([wave], self.mel, self.shape[-1])[0]

    def named(self, words: list[str]) -> Named:
        """Files, and those that end in .wav in folders."""
        found: list[Path] = []
        for path in map(user_path, words):
            if not path.exists():
                raise UserError(f"{path} does not exist")
            found += sorted(path.rglob("*.wav")) if path.is_dir() else [path]
        return [(str(path), path) for path in found]


@dataclass(frozen=True)
class TextReader:
    """Reads texts as word pieces.

    Args:
        shape: Of an example: the number of pieces; longer texts are cut.
        pieces: The tokenizer.
    """

    shape: tuple[int, ...]
    pieces: Pieces
    noun: ClassVar[str] = "text"

    def read(self, example: str) -> Tensor:
        """Ids int32 [1, L] of a text, whose words stand apart."""
        if not isinstance(example, str):
            raise UserError(f"a text is a str, not {type(example).__name__}")
        if not example.split():
            raise UserError("a text needs a word at least")
        words = self.pieces.ids([example.split()])
        return rows(words, [[[]]], self.pieces, self.shape[0])

    def named(self, words: list[str]) -> Named:
        """Texts; of a file, each of its lines."""
        texts: list[str] = []
        for word in words:
            path = user_path(word)
            is_file = len(word) < 4096 and path.is_file()  # longer names are none
            texts += [line for line in read_text(path).splitlines() if line.strip()] if is_file else [word]
        return [(text, text) for text in texts]


def reader_of(shape: tuple[int, ...], numbers: bool, crop: float, about: dict[str, Any] | None) -> ExampleReader:
    """What reads examples for a network.

    Args:
        shape: Of an example.
        numbers: Whether they are numbers, and no ids.
        crop: Share of a picture's shorter side that is kept.
        about: The modality's own `reader`, from a checkpoint; None for pictures.

    Raises:
        UserError: For content that no modality writes.
    """
    try:
        if about is None:
            return PictureReader(shape, numbers, crop)
        if about["kind"] == SOUND:
            rate, window, hop, bands = (int(about[name]) for name in ("rate", "window", "hop", "bands"))
            mel = LogMel(rate, window, hop, bands)
            return SoundReader(shape, mel, None if about["loudness"] is None else float(about["loudness"]))
        tokenizer = need("tokenizers", "text", "a network for texts").Tokenizer.from_str(about["tokenizer"])
        opening, closing, mask, padding = (int(about[name]) for name in ("opening", "closing", "mask", "padding"))
        return TextReader(shape, Pieces(tokenizer, opening, closing, mask, list(about["special"]), padding))
    except UserError:
        raise
    except Exception as error:  # the library raises its own for what is no tokenizer
        raise UserError(f"the checkpoint does not say how examples are read ({type(error).__name__})") from error
