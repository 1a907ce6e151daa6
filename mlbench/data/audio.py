"""A set of utterances becomes a stream of one task, with spectrograms as examples."""

from dataclasses import dataclass

import torch
from torch import Tensor

from mlbench.core.errors import UserError
from mlbench.data.mel_spectrogram import LogMel
from mlbench.data.modality import Spectrograms
from mlbench.data.normalisation import Normalise
from mlbench.data.output_heads import SharedHead
from mlbench.data.properties import Items, Properties
from mlbench.data.split import Pool, Split
from mlbench.data.stream import Stream, Task


@dataclass
class Utterance:
    """A recording of one digit by one speaker."""

    wave: Tensor  # [n], 1 is full scale
    digit: int
    speaker: str


def stream(
    train: list[Utterance], test: list[Utterance], mel: LogMel, frames: int, loudness: float | None = None
) -> Stream:
    """Return a stream of one task, the classification of digits, with properties `digit` and `speaker`.

    Args:
        train: Utterances for training.
        test: Utterances for testing.
        mel: Turns waves into spectrograms.
        frames: Length of the spectrograms; shorter ones end in silence, longer ones are cut.
        loudness: Root mean square to which all waves were brought, where they were.

    Raises:
        UserError: If there are fewer than two digits or speakers, or no training or test utterances.
    """
    if not train or not test:
        raise UserError(f"there are {len(train)} utterances to learn from and {len(test)} to test; both need some")
    digits, speakers = (sorted({each(u) for u in (*train, *test)}) for each in (lambda u: u.digit, lambda u: u.speaker))
    if len(digits) < 2 or len(speakers) < 2:
        raise UserError(f"there are {len(digits)} digits and {len(speakers)} speakers; two of each are needed")
    values = {"digit": [str(digit) for digit in digits], "speaker": speakers}
    tables, lengths, items = [], [], []
    for part in (train, test):
        table, length = spectrograms([u.wave for u in part], mel, frames)
        numbers = {"digit": [digits.index(u.digit) for u in part], "speaker": [speakers.index(u.speaker) for u in part]}
        labels = {name: torch.tensor(column) for name, column in numbers.items()}
        tables.append(table)
        lengths.append(length)
        items.append(Items(torch.arange(len(part)), labels))
    modality = Spectrograms(mel, tables[0].max().item(), loudness)
    present = modality.present(tables[0], lengths[0], frames)
    sound = tables[0][present[:, None, None].expand_as(tables[0])]
    normalise = Normalise(sound.mean()[None], sound.std()[None])
    train_split, test_split = (
        Split(Pool(table, modality, length), part_items.rows, part_items.labels["digit"], 0, normalise)
        for table, length, part_items in zip(tables, lengths, items, strict=True)
    )
    task = Task("utterances", train_split, test_split, properties=Properties(values, *items))
    return Stream([task], None, len(digits), values["digit"], SharedHead())


def spectrograms(waves: list[Tensor], mel: LogMel, frames: int) -> tuple[Tensor, Tensor]:
    """Return log-mel spectrograms [n, 1, bands, frames], silent behind the end, and the length of each [n]."""
    table = torch.full((len(waves), 1, mel.bands, frames), mel.silence)
    lengths = torch.zeros(len(waves), dtype=torch.int64)
    for number, wave in enumerate(waves):
        spectrogram = mel(wave)[:, :frames]
        table[number, 0, :, : spectrogram.shape[1]] = spectrogram
        lengths[number] = spectrogram.shape[1]
    return table, lengths
