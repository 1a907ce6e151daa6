"""Decoders that reconstruct inputs from layers, and classifiers that assess the reconstructions."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlbench.data.split import Batch, Split
from mlbench.training.learner import Learner

AT_ONCE = 1024  # examples


class HighwayDecoder(nn.Module):
    """A decoder from the features [B, D] of a single frame to its bands [B, M].

    It consists of a linear layer, highway layers and a linear layer. A highway layer computes
    g * relu(H x) + (1 - g) * x with a gate g of x (Srivastava et al. 2015, eq. 3), whose bias starts at -1, so that the
    layer starts close to the identity.

    Args:
        inputs: D.
        outputs: M.
        width: Width of the highway layers.
        depth: Number of highway layers.
    """

    def __init__(self, inputs: int, outputs: int, width: int, depth: int):
        super().__init__()
        self.first, self.last = nn.Linear(inputs, width), nn.Linear(width, outputs)
        self.changes = nn.ModuleList([nn.Linear(width, width) for _ in range(depth)])
        self.gates = nn.ModuleList([nn.Linear(width, width) for _ in range(depth)])
        for gate in self.gates:
            nn.init.constant_(gate.bias, -1.0)

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        x = self.first(features)
        for change, gate in zip(self.changes, self.gates, strict=True):
            x = torch.lerp(x, change(x).relu(), gate(x).sigmoid())
        return self.last(x)


class Deconvolution(nn.Module):
    """A decoder from feature maps [B, K, h, w], or a vector [B, D], to pictures [B, C, H, W].

    Transposed convolutions double the size until it suffices, two convolutions follow, and the surplus is cropped. A
    shortcut adds a 1x1 convolution of the features, upsampled bilinearly, so that unchanged parts need not be learned.

    Args:
        inputs: (K, h, w) or (D,).
        picture: (C, H, W).
        width: Channels of the convolutions.
    """

    def __init__(self, inputs: tuple[int, ...], picture: tuple[int, int, int], width: int):
        super().__init__()
        channels, *self.sides = picture
        self.start = None
        if len(inputs) == 1:
            self.start = (2 * width, *(math.ceil(side / 4) for side in self.sides))
            self.first = nn.Linear(inputs[0], math.prod(self.start))
            inputs = self.start
        count = max(math.ceil(math.log2(side / size)) for side, size in zip(self.sides, inputs[1:], strict=True))
        layers: list[nn.Module] = []
        before = inputs[0]
        self.straight = nn.Conv2d(before, channels, 1)
        for _ in range(count):
            layers += [nn.ConvTranspose2d(before, width, 4, 2, padding=1), nn.ReLU()]
            before = width
        layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, channels, 3, padding=1)]
        self.rest = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        x = features if self.start is None else self.first(features).unflatten(1, self.start)
        straight = F.interpolate(self.straight(x), self.sides, mode="bilinear", align_corners=False)
        return straight + self.rest(x)[:, :, : self.sides[0], : self.sides[1]]


class Judge(nn.Module):
    """A classifier of spectrograms [B, 1, bands, frames]: convolutions over time, pooled by mean and maximum."""

    def __init__(self, bands: int, outputs: int, width: int = 64):
        super().__init__()
        sizes = [(bands, width), (width, width)]
        blocks = [(nn.Conv1d(a, b, 5, padding=2, bias=False), nn.BatchNorm1d(b), nn.ReLU()) for a, b in sizes]
        self.body = nn.Sequential(*(layer for block in blocks for layer in block))
        self.last = nn.Linear(2 * width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, outputs]."""
        hidden = self.body(x.squeeze(1))
        return self.last(torch.cat([hidden.mean(2), hidden.amax(2)], 1))


class Rebuild(Learner):
    """Mean squared error of reconstructions; the label of an example is its row of `targets`."""

    lr_setting = "explain.lr"

    def __init__(self, targets: Tensor):
        self.targets = targets

    def loss(self, net: nn.Module, batch: Batch) -> Tensor:
        """See the class."""
        return F.mse_loss(net(batch.x).float(), self.targets[batch.y])


@torch.no_grad()
def outputs(net: nn.Module, split: Split) -> Tensor:
    """The outputs of the network for all examples."""
    return torch.cat([net(split.batch(index).x) for index in split.chunks(AT_ONCE)])
