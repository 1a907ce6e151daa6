"""Utterances that are made here: sounds with a planted content and a planted voice, without a download."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mlbench.core.errors import require
from mlbench.data import audio
from mlbench.data.audio import Utterance
from mlbench.data.dataset import Data
from mlbench.data.mel_spectrogram import LogMel
from mlbench.data.stream import Stream

DIGITS = 10
VOICES = {"alto": 210.0, "baritone": 110.0, "bass": 85.0, "child": 290.0, "soprano": 250.0, "tenor": 140.0}  # pitch, Hz
VOWELS = torch.tensor([[300.0, 2200.0], [600.0, 1700.0], [750.0, 1200.0], [450.0, 800.0], [300.0, 700.0]])  # formants
WIDTH = 120.0  # Hz, of a formant
SHORTEST, LONGEST = 0.3, 0.6  # seconds
NOISE = 0.01


@dataclass
class Tones(Data):
    """A digit is a glide between two of five vowels, a speaker a pitch: two things that an utterance has at a time.

    A voice is a sum of harmonics of its pitch (with a small vibrato and drift), each as loud as the two formants of the
    moment let through (the source and filter of speech). Length, loudness, pitch within 3 % and noise are drawn. So the
    digit is in the slow shape of the spectrum over time, the speaker in its fine structure all the time.
    """

    train_each: int
    test_each: int
    frames: int

    def __post_init__(self):
        for name in ("train_each", "test_each"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "1 or more of each digit and voice")
        require(10 <= self.frames <= 1000, "frames", self.frames, "10 to 1000, of 10 ms")

    def stream(self, data_dir: Path, generator: torch.Generator) -> Stream:  # noqa: ARG002
        """One task, ten digits, six voices."""
        mel = LogMel()
        train, test = (
            [
                Utterance(utter(digit, pitch, mel.rate, generator), digit, voice)
                for _ in range(count)
                for digit in range(DIGITS)
                for voice, pitch in VOICES.items()
            ]
            for count in (self.train_each, self.test_each)
        )
        return audio.stream(train, test, mel, self.frames)


PAIRS = [(a, b) for a in range(len(VOWELS)) for b in range(len(VOWELS)) if a != b][: 2 * DIGITS : 2]


def utter(digit: int, pitch: float, rate: int, generator: torch.Generator) -> Tensor:
    """A wave [n] of -1 to 1."""
    draws = torch.rand(4, generator=generator)
    count = int(rate * (SHORTEST + (LONGEST - SHORTEST) * draws[0]))
    time = torch.arange(count) / rate
    pitches = pitch * (1 + 0.06 * (draws[1] - 0.5)) * (1 + 0.01 * torch.sin(2 * torch.pi * 5 * time))  # [n]
    phase = 2 * torch.pi * (pitches / rate).cumsum(0)
    first, last = (VOWELS[vowel] for vowel in PAIRS[digit])
    formants = first + (last - first) * torch.linspace(0, 1, count)[:, None]  # [n, 2]
    harmonics = torch.arange(1, int(rate / 2 / pitches.max()) + 1)
    frequency = pitches[:, None] * harmonics  # [n, harmonics]
    loud = torch.exp(-0.5 * ((frequency[:, :, None] - formants[:, None]) / WIDTH).square()).sum(2) + 0.02
    wave = (loud * torch.sin(phase[:, None] * harmonics) / harmonics.sqrt()).sum(1)
    fade = (torch.minimum(time, time.flip(0)) / 0.03).clamp(max=1)
    wave = wave * fade * (0.3 + 0.4 * draws[2]) / wave.abs().max()
    return (wave + NOISE * torch.randn(count, generator=generator)).clamp(-1, 1)
