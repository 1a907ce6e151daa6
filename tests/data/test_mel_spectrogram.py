"""Log-mel spectrograms against scipy and formulas, and back."""

import math

import numpy as np
import pytest
import scipy.signal
import torch
from scipy.optimize import nnls

from mlbench.data.mel_spectrogram import FLOOR, LogMel, mel_filters


def tone(frequency, seconds=0.5, rate=8000):
    return 0.5 * torch.sin(2 * torch.pi * frequency * torch.arange(int(seconds * rate)) / rate)


def test_the_transform_is_scipys():
    mel, wave = LogMel(), torch.randn(2000, generator=torch.Generator().manual_seed(0))
    _, _, expected = scipy.signal.stft(
        wave.numpy(),
        window=scipy.signal.get_window("hann", 256),
        nperseg=256,
        noverlap=176,
        boundary="zeros",
        padded=False,
    )
    found = mel.stft(wave).numpy()
    assert found.shape == (129, 2000 // 80 + 1)
    np.testing.assert_allclose(found[:, : expected.shape[1]], expected * 128, atol=1e-3)  # scipy divides by the sum


def test_bands_are_triangles_on_the_mel_scale():
    filters = mel_filters(8000, 129, 40)
    assert filters.shape == (40, 129)
    top = 2595 * math.log10(1 + 4000 / 700)
    centre = 700 * (10 ** (top * 21 / 41 / 2595) - 1)  # of the band with number 20
    before, after = (700 * (10 ** (top * k / 41 / 2595) - 1) for k in (20, 22))
    frequency = torch.arange(129) * 4000 / 128
    rise = ((frequency - before) / (centre - before)).clamp(max=1)
    expected = torch.minimum(rise, (after - frequency) / (after - centre)).clamp(min=0)
    torch.testing.assert_close(filters[20], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("frequency", [500.0, 1000.0, 3000.0])
def test_a_tone_is_loudest_in_its_band(frequency):
    mel = LogMel()
    found = mel(tone(frequency))
    bands = mel.filters @ torch.nn.functional.one_hot(torch.tensor(round(frequency / 31.25)), 129).float()
    assert (found[:, 5:-5].argmax(0) == bands.argmax()).all()


def test_silence_is_the_floor():
    mel = LogMel()
    assert (mel(torch.zeros(800)) == math.log(FLOOR)).all()
    assert mel.silence == pytest.approx(math.log(FLOOR))


def test_power_of_bins_is_what_the_bands_heard():
    """Better than the pseudo-inverse without its negative parts, and no worse than scipy's least squares by much."""
    mel = LogMel()
    sound = torch.cat([tone(400), 0.3 * tone(1500) + 0.1 * tone(2900)])
    power = mel(sound).exp()[:, ::9]
    found = mel.bins(power)
    assert (found >= 0).all()
    missed = (mel.filters @ found - power).norm()
    best = [nnls(mel.filters.double().numpy(), column)[1] for column in power.T.double().numpy()]
    assert missed < 0.3 * (mel.filters @ (mel.inverse @ power).clamp(min=0) - power).norm()
    assert missed < np.linalg.norm(best) + 0.04 * power.norm()


def test_a_spectrogram_comes_back_through_a_wave():
    mel = LogMel()
    wave = tone(400) + 0.5 * tone(1500) * torch.linspace(0, 1, 4000)
    loud = mel(wave)
    again = mel(mel.wave(loud))
    assert again.shape == loud.shape
    heard = loud > loud.max() - 5
    assert (again - loud)[heard].abs().mean() < 0.25  # in natural logarithms of power
    assert mel.wave(loud).shape == (4000,)


def test_more_steps_bring_the_wave_nearer():
    mel = LogMel()
    loud = mel(tone(700) * (1 + torch.sin(torch.arange(4000) / 300)))

    def error(steps):
        found = mel.stft(mel.wave(loud, steps=steps)).abs()
        return (found - mel.bins(loud.exp()).sqrt()).norm()

    assert error(60) < 0.8 * error(1)
