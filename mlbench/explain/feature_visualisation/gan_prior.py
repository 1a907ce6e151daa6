"""A small generative adversarial network of the training pictures: what searches for a picture may find.

It is trained here and not through `fit`, the one exception: two networks and two optimisers take turns.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mlbench.core.errors import RunError
from mlbench.core.rng import apart
from mlbench.data.split import Split
from mlbench.explain.base import Context
from mlbench.explain.feature_visualisation.image_parametrisation import Canvas, Frame
from mlbench.explain.feature_visualisation.units import Units

BATCH = 64
LR = {"generator": 1e-3, "discriminator": 1e-3}
BETAS = (0.5, 0.99)
TRIED = 32  # codes, for the beginning of a search
AVERAGED = 0.99  # of the generator's weights, step by step: much better pictures than its last weights make


class Generator(nn.Module):
    """Codes [n, latent] to pictures [n, C, H, W] of 0..1: two transposed convolutions (Radford et al. 2016, small)."""

    def __init__(self, shape: tuple[int, int, int], latent: int, width: int):
        super().__init__()
        self.shape, self.latent = shape, latent
        channels, height, across = shape
        self.start = (2 * width, -(-height // 4), -(-across // 4))
        self.first = nn.Linear(latent, 2 * width * self.start[1] * self.start[2], bias=False)
        self.rest = nn.Sequential(
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * width, width, 4, 2, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.ConvTranspose2d(width, channels, 4, 2, padding=1),
        )

    def forward(self, codes: Tensor) -> Tensor:
        """[n, C, H, W]."""
        pictures = self.rest(self.first(codes).view(-1, *self.start))
        return pictures[:, :, : self.shape[1], : self.shape[2]].sigmoid()


def make_discriminator(shape: tuple[int, int, int], width: int) -> nn.Module:
    """Pictures [n, C, H, W] of 0..1 to how real they seem [n, 1].

    Spectral normalisation bounds its slope, which keeps the training stable (Miyato et al. 2018).
    """
    body = nn.Sequential(
        spectral_norm(nn.Conv2d(shape[0], width, 4, 2, padding=1)),
        nn.LeakyReLU(0.1),
        spectral_norm(nn.Conv2d(width, 2 * width, 4, 2, padding=1)),
        nn.LeakyReLU(0.1),
        nn.Flatten(),
    )
    features = body(torch.zeros(1, *shape)).shape[1]
    return nn.Sequential(body, spectral_norm(nn.Linear(features, 1)))


def trained(split: Split, shape: tuple[int, int, int], steps: int, latent: int, width: int, seed: int) -> dict:
    """(`weights` of a generator that makes pictures like those of `split`, `losses` [steps, 2] of both networks).

    The hinge loss (Lim & Ye 2017), one step of the discriminator for one of the generator. Raises RunError where the
    weights are not finite any more.
    """
    device = split.labels.device
    with apart(device, seed):
        generator = Generator(shape, latent, width).to(device)
        discriminator = make_discriminator(shape, width).to(device)
        average = AveragedModel(generator, multi_avg_fn=get_ema_multi_avg_fn(AVERAGED), use_buffers=True)
        makes = torch.optim.Adam(generator.parameters(), LR["generator"], BETAS, fused=True)
        tells = torch.optim.Adam(discriminator.parameters(), LR["discriminator"], BETAS, fused=True)
        losses = torch.empty(steps, 2)
        for step in range(steps):
            index = torch.randint(len(split), (BATCH,)).to(device)
            real, fake = split.raw(index).float() / 255, generator(torch.randn(BATCH, latent).to(device))
            seems, seems_made = discriminator(torch.cat([real, fake.detach()])).chunk(2)
            loss = F.relu(1 - seems).mean() + F.relu(1 + seems_made).mean()
            tells.zero_grad()
            loss.backward()
            tells.step()
            discriminator.requires_grad_(False)
            deceit = -discriminator(fake).mean()
            makes.zero_grad()
            deceit.backward()
            makes.step()
            discriminator.requires_grad_(True)
            average.update_parameters(generator)
            losses[step] = torch.stack([loss.detach(), deceit.detach()])
    weights = average.module.state_dict()
    if not all(tensor.isfinite().all() for tensor in weights.values()):
        raise RunError("the generator's weights are not finite any more; try another seed or fewer explain.gan_steps")
    return {"weights": weights, "losses": losses}


def generator(context: Context, steps: int, latent: int, width: int) -> Generator:
    """The generator of the run's training pictures, from the store, or trained now; in eval mode, not to be trained."""
    made_by = {"gan_steps": steps, "gan_latent": latent, "gan_width": width}
    seed = context.generator.initial_seed() % 2**63
    checkpoint = context.stored(
        "generator", made_by, lambda: trained(context.train, context.input_shape, steps, latent, width, seed)
    )
    network = Generator(context.input_shape, latent, width)
    network.load_state_dict(checkpoint["weights"])
    return network.to(context.train.labels.device).eval().requires_grad_(False)


def latent(generator: Generator, frame: Frame, units: Units, indices: Tensor, draws: torch.Generator) -> Canvas:
    """Codes are the parameter; each begins as the one of TRIED standard normal ones that excites its unit most.

    From a single draw a search may end in another class, which it cannot leave without a picture that is none.
    """
    render = lambda value: frame.normalised(generator(value))  # noqa: E731
    best, codes = None, None
    for _ in range(TRIED):
        drawn = torch.randn(len(indices), generator.latent, generator=draws).to(frame.black.device)
        with torch.no_grad():
            excited = units(render(drawn)).float().gather(1, indices[:, None])
        if best is None:
            best, codes = excited, drawn
        codes = torch.where(excited > best, drawn, codes)
        best = torch.maximum(excited, best)
    return Canvas(codes, render)
