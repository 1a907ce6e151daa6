"""Spoken digits in wav files, as in the Free Spoken Digit Dataset."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from mlbench.core.errors import UserError, require
from mlbench.core.user_path import user_path
from mlbench.data import audio
from mlbench.data.audio import Utterance
from mlbench.data.dataset import Data
from mlbench.data.mel_spectrogram import LogMel
from mlbench.data.stream import Stream
from mlbench.data.wave_files import read_wave

FILE_NAME = re.compile(r"(\d+)_(.+)_(\d+)\.wav")  # digit, speaker, index
TEST_BELOW = 5  # the dataset's own rule: the first five of each digit and speaker are the test set
TEST_SPEAKERS = 1 / 3  # of the speakers, for the test
LOUDNESS = 0.05  # root mean square


@dataclass
class SpokenDigits(Data):
    """Files `recordings/{digit}_{speaker}_{index}.wav` in the folder `path`; null takes <data_dir>/spoken_digits.

    Mono, 8 to 32 bits or floats, 8,000 Hz. Tested are the indices 0 to 4 of each digit and speaker (`speakers:
    shared`), or all of a third of the speakers, drawn by the seed, from whom nothing is learned (`disjoint`). All are
    brought to the same loudness: how near the microphone stood says who spoke. Of each there are `frames` frames of
    10 ms.
    """

    path: str | None
    speakers: Literal["shared", "disjoint"]
    frames: int

    def __post_init__(self):
        require(10 <= self.frames <= 1000, "frames", self.frames, "10 to 1000, of 10 ms")

    def files(self, data_dir: Path) -> list[Path]:
        """The folder."""
        return [(user_path(self.path) if self.path else data_dir / "spoken_digits") / "recordings"]

    def stream(self, data_dir: Path, generator: torch.Generator) -> Stream:
        """One task, ten digits."""
        (folder,) = self.files(data_dir)
        if not folder.is_dir():
            raise UserError(
                f"{folder} is not there; put {{digit}}_{{speaker}}_{{index}}.wav into it, or take data=tones"
            )
        files = [(match, path) for path in sorted(folder.glob("*.wav")) if (match := FILE_NAME.fullmatch(path.name))]
        if not files:
            raise UserError(f"{folder} holds no {{digit}}_{{speaker}}_{{index}}.wav")
        mel = LogMel()
        recordings = [
            (Utterance(read_wave(path, mel.rate, LOUDNESS), int(match[1]), match[2]), int(match[3]))
            for match, path in files
        ]
        if self.speakers == "shared":
            for_test = [index < TEST_BELOW for _, index in recordings]
        else:
            names = sorted({utterance.speaker for utterance, _ in recordings})
            order = torch.randperm(len(names), generator=generator)[: max(1, round(TEST_SPEAKERS * len(names)))]
            test_speakers = {names[number] for number in order.tolist()}
            for_test = [utterance.speaker in test_speakers for utterance, _ in recordings]
        train, test = (
            [each for (each, _), is_test in zip(recordings, for_test, strict=True) if is_test is part]
            for part in (False, True)
        )
        return audio.stream(train, test, mel, self.frames, LOUDNESS)
