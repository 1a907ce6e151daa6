"""Pictures that are parameters: what gradient ascent on the input trains."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlbench.explain.base import Context, at_once, is_large

START = 0.1  # standard deviation of the noise that pictures start from, normalised or before the sigmoid
SAMPLE = 500  # training pictures from which background and colours are taken, fewer where they are large
GAIN = 0.25  # of waves in large pictures, as in Lucid; without it they are black and white after a few steps
DARKEST = 0.05  # a sigmoid starts no nearer to black or white than this, where its gradient is gone


@dataclass
class Frame:
    """What pictures there can be."""

    shape: tuple[int, int, int]  # C, H, W
    black: Tensor  # [1, C, 1, 1] normalised, like the following
    white: Tensor
    background: Tensor  # the median pixel of the training pictures
    colours: Tensor  # [C, C] from channels that vary by themselves to those of the training pictures

    @staticmethod
    def of(context: Context) -> "Frame":
        """That of the run's training pictures."""
        count = at_once(SAMPLE, context.train.raw(context.train.places[:1]))
        order = torch.randperm(len(context.train), generator=torch.Generator().manual_seed(0))[:count]
        pixels = (
            context.train.batch(order.to(context.train.labels.device)).x.transpose(0, 1).flatten(1)
        )  # [C, n * H * W]
        black, white = (context.train.normalise(torch.full_like(context.black, value)) for value in (0.0, 255.0))
        background = torch.stack([channel.median() for channel in pixels]).view_as(black)  # deterministic on CUDA too
        unit = (pixels - black.view(-1, 1)) / (white - black).view(-1, 1)
        covariance = torch.cov(unit).view(len(unit), -1) + 1e-6 * torch.eye(len(unit), device=unit.device)
        root = torch.linalg.cholesky(covariance)
        return Frame(context.input_shape, black, white, background, root / root.norm(dim=1).max())

    def unit(self, x: Tensor) -> Tensor:
        """Normalised pictures with values 0 for black to 1 for white."""
        return (x - self.black) / (self.white - self.black)

    def normalised(self, unit: Tensor) -> Tensor:
        """The inverse of `unit`."""
        return self.black + unit * (self.white - self.black)


class Canvas(nn.Module):
    """Pictures with one parameter, the only thing that a fit trains: `render` makes normalised pictures of `value`.

    The network looked into is no part of it, so that a fit leaves its mode, weights and statistics alone.
    """

    def __init__(self, value: Tensor, render: Callable[[Tensor], Tensor], bounds: tuple[Tensor, Tensor] | None = None):
        super().__init__()
        self.value = nn.Parameter(value)
        self.render, self.bounds = render, bounds

    def forward(self) -> Tensor:
        """Normalised pictures [n, C, H, W]."""
        return self.render(self.value)

    @torch.no_grad()
    def keep_within(self) -> None:
        """After a step: back to the nearest picture that there can be."""
        if self.bounds is not None:
            self.value.clamp_(*self.bounds)


def pixels(frame: Frame, count: int, generator: torch.Generator) -> Canvas:
    """The pixels themselves are the parameter, kept between black and white."""
    noise = START * torch.randn(count, *frame.shape, generator=generator).to(frame.black.device)
    start = (frame.background + noise).clamp(frame.black, frame.white)
    return Canvas(start, lambda value: value, (frame.black, frame.white))


def fourier(frame: Frame, count: int, generator: torch.Generator) -> Canvas:
    """Waves are the parameter, the slower the stronger, in channels that vary by themselves (Olah et al. 2017).

    A sigmoid keeps the pictures between black and white.
    """
    channels, height, width = frame.shape
    noise = torch.randn(count, channels, height, width // 2 + 1, 2, generator=generator)
    start = 0.1 * START * noise.to(frame.black.device)
    gain = GAIN if is_large(frame.shape) else 1.0
    offset = frame.unit(frame.background).clamp(DARKEST, 1 - DARKEST).logit()

    def render(value: Tensor) -> Tensor:
        waves = torch.einsum("dc,nchw->ndhw", gain * frame.colours, waves_to_pixels(value, (height, width)))
        return frame.normalised(torch.sigmoid(offset + waves))

    return Canvas(start, render)


def waves_to_pixels(value: Tensor, sides: tuple[int, int]) -> Tensor:
    """Pictures [n, C, H, W] of weighed waves [n, C, H, W // 2 + 1, 2]: the inverse Fourier transform."""
    strengths = strength_of_waves(sides).to(value.device)
    return torch.fft.irfft2(torch.view_as_complex(value.float() * strengths[..., None]), s=sides, norm="ortho")


def strength_of_waves(sides: tuple[int, int]) -> Tensor:
    """1 / frequency (in waves a pixel) [H, W // 2 + 1], as natural pictures have it; the mean as the slowest wave."""
    down, across = torch.fft.fftfreq(sides[0]), torch.fft.rfftfreq(sides[1])
    frequency = (down[:, None].square() + across.square()).sqrt()
    return 1 / frequency.clamp(min=1 / max(sides))


PARAMETRISATIONS: dict[str, Callable[[Frame, int, torch.Generator], Canvas]] = {"pixels": pixels, "fourier": fourier}


def moved(x: Tensor, shift: Tensor, size: Tensor, angle: Tensor) -> Tensor:
    """Pictures [n, C, H, W] shifted by pixels [n, 2] (down, right), magnified by `size` [n], turned by radians [n].

    What comes in from outside repeats the edge.
    """
    height, width = x.shape[2:]
    cosine, sine = angle.cos() / size, angle.sin() / size
    down, right = 2 * shift[:, 0] / height, 2 * shift[:, 1] / width
    upper = torch.stack([cosine, sine * height / width], 1)
    lower = torch.stack([-sine * width / height, cosine], 1)
    turn = torch.stack([upper, lower], 1)  # [n, 2, 2], from places in the result to places in x
    start = -turn @ torch.stack([right, down], 1)[:, :, None]
    grid = F.affine_grid(torch.cat([turn, start], 2).to(x), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)
