"""Sounds in wav files."""

import io
import struct
import warnings
from pathlib import Path

import numpy as np
import torch
from scipy.io import wavfile
from torch import Tensor

from mlbench.core.errors import UserError
from mlbench.core.input_files import read_bytes

SOFTEST, LOUDEST = 1e-12, 1e12  # root mean squares that can be brought to another in single precision
READ_ERRORS = (ValueError, EOFError, OSError, struct.error, wavfile.WavFileWarning)  # what scipy raises for bad files
READ_ERRORS += (UnboundLocalError, ZeroDivisionError, TypeError, OverflowError, MemoryError)  # and for damaged headers


def read_wave(path: Path, rate: int, loudness: float | None) -> Tensor:
    """A mono wave [n], brought to this root mean square where one is given.

    Raises UserError for a file that is none, has another rate, or holds no sound.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # chunks without sound
            warnings.filterwarnings("error", "Reached EOF prematurely")
            # from memory: of a file scipy makes room for as many samples as its header claims
            file_rate, wave = wavfile.read(io.BytesIO(read_bytes(path)))
    except READ_ERRORS as error:
        raise UserError(f"{path} cannot be read as a wav file: {error}") from error
    if file_rate != rate:
        raise UserError(f"{path} has {file_rate} samples a second; needed are {rate}")
    if wave.ndim != 1 or not len(wave):
        raise UserError(f"{path}: one channel with sound in it is needed, this is {list(wave.shape)}")
    samples = full_scale(wave)
    if bad := int((~samples.isfinite()).sum()):
        raise UserError(f"{path}: {bad} of {len(samples)} samples are not finite numbers")
    if samples.min() == samples.max():
        raise UserError(f"{path} holds no sound: all samples are {wave[0]}")
    if loudness is None:
        return samples
    own = samples.square().mean().sqrt()
    if not SOFTEST < own < LOUDEST:
        raise UserError(f"{path} has a loudness of {own:.3g}, and 1 is full scale; it cannot be brought to {loudness}")
    return samples * (loudness / own)


def full_scale(wave: np.ndarray) -> Tensor:
    """Samples of any depth as numbers of -1 to 1: 8 bits are unsigned, 24 are the upper ones of 32; floats as they are.

    A division by a power of two rounds nothing.
    """
    with np.errstate(over="ignore"):  # what is too large becomes infinite
        samples = torch.from_numpy(wave.astype(np.float32))
    if wave.dtype.kind == "f":
        return samples
    half = 2.0 ** (8 * wave.dtype.itemsize - 1)
    return (samples - half if wave.dtype.kind == "u" else samples) / half
