"""Waves to log-mel spectrograms and back, on torch.stft alone."""

import math

import torch
from torch import Tensor, nn

FLOOR = 1e-6  # of a band's power: what counts as silence
STEPS = 20  # from bands to bins
TINY = 1e-12  # keeps quotients finite


class LogMel(nn.Module):
    """Waves of -1 to 1 at `rate` hertz to the logarithm of the power in `bands` mel bands, a frame every `hop` samples.

    The mel scale is 2595 log10(1 + f / 700) (O'Shaughnessy 1987), bands are triangles from one centre to the next.
    """

    taper: Tensor  # [window]
    filters: Tensor  # [bands, bins]
    inverse: Tensor  # [bins, bands], the pseudo-inverse of `filters`

    def __init__(self, rate: int = 8000, window: int = 256, hop: int = 80, bands: int = 40):
        super().__init__()
        self.rate, self.window, self.hop, self.bands = rate, window, hop, bands
        self.register_buffer("taper", torch.hann_window(window))
        self.register_buffer("filters", mel_filters(rate, window // 2 + 1, bands))
        self.register_buffer("inverse", torch.linalg.pinv(self.filters))

    @property
    def silence(self) -> float:
        """The value of every band where there is nothing."""
        return math.log(FLOOR)

    def stft(self, wave: Tensor) -> Tensor:
        """Complex [..., bins, frames] of a wave [..., n]; n // hop + 1 frames."""
        settings = {"hop_length": self.hop, "window": self.taper, "pad_mode": "constant", "return_complex": True}
        return torch.stft(wave, self.window, **settings)

    def forward(self, wave: Tensor) -> Tensor:
        """[..., bands, frames] of waves [..., n]."""
        power = self.stft(wave).abs().square()
        return (self.filters @ power).clamp(min=FLOOR).log()

    def wave(self, mel: Tensor, steps: int = 60, momentum: float = 0.99) -> Tensor:
        """A wave [n] whose spectrogram is near `mel` [bands, frames], by the fast Griffin-Lim (Perraudin et al. 2013).

        Phases begin at 0.
        """
        loud = self.bins(mel.exp()).sqrt()  # [bins, frames]
        length = self.hop * (mel.shape[-1] - 1)
        settings = {"hop_length": self.hop, "window": self.taper, "length": length}
        phase, before = torch.ones_like(loud, dtype=torch.complex64), torch.zeros_like(loud, dtype=torch.complex64)
        for _ in range(steps):
            again = self.stft(torch.istft(loud * phase, self.window, **settings))
            guess = again + momentum * (again - before)
            phase, before = guess / guess.abs().clamp(min=TINY), again
        return torch.istft(loud * phase, self.window, **settings)

    def bins(self, power: Tensor) -> Tensor:
        """Power of bins [bins, frames], none below 0, that bands [bands, frames] of about this `power` would hear.

        By the pseudo-inverse, negative parts cut off, then multiplicative steps to least squares (Lee & Seung 2001).
        """
        guess = (self.inverse @ power).clamp(min=0) + TINY
        for _ in range(STEPS):
            response = self.filters.T @ (self.filters @ guess)
            # no band hears the first bin and the last
            guess = guess * (self.filters.T @ power) / response.clamp(min=TINY)
        return guess


def mel_filters(rate: int, bins: int, bands: int) -> Tensor:
    """Triangles [bands, bins] over the frequencies 0 to rate / 2, with peaks of 1 at equal distances in mel."""
    top = 2595 * math.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (torch.linspace(0, top, bands + 2, dtype=torch.float64) / 2595) - 1)
    frequency = torch.linspace(0, rate / 2, bins, dtype=torch.float64)
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (frequency - low) / (centre - low), (high - frequency) / (high - centre)
    return torch.minimum(rising, falling).clamp(min=0).float()
