"""Networks that give an input back from what a layer made of it, and those that judge what they give."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mlbench.data.split import Batch, Split
from mlbench.training.learner import Learner

AT_ONCE = 1024  # examples


class HighwayDecoder(nn.Module):
    """A frame's features [B, D] to its bands [B, M]: a linear map, `depth` highway layers, a linear map.

    Each frame alone: neighbours are not seen. A highway layer passes g * relu(H x) + (1 - g) * x with a gate g of x
    (Srivastava et al. 2015, eq. 3), its bias -1 at first, so that it begins as nearly nothing.
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
    """Maps [B, K, h, w], or a vector [B, D], to pictures [B, C, H, W]: transposed convolutions, each twice as large.

    As many as lie between the sizes, and convolutions at the end; what is too large then is cut off. They change what a
    linear map of each place, enlarged, gives: what the layer holds as it was need not be learned.
    """

    def __init__(self, inputs: tuple[int, ...], picture: tuple[int, int, int], width: int):
        super().__init__()
        channels, *self.sides = picture
        self.start = None
        if len(inputs) == 1:
            self.start = (2 * width, *(math.ceil(side / 4) for side in self.sides))
            self.first = nn.Linear(inputs[0], math.prod(self.start))
            inputs = self.start
        count = max(math.ceil(math.log2(side / given)) for side, given in zip(self.sides, inputs[1:], strict=True))
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
    """Tells what is in a spectrogram [B, 1, bands, frames]: convolutions over time, their mean and their maximum."""

    def __init__(self, bands: int, outputs: int, width: int = 64):
        super().__init__()
        sizes = [(bands, width), (width, width)]
        blocks = [(nn.Conv1d(a, b, 5, padding=2, bias=False), nn.BatchNorm1d(b), nn.ReLU()) for a, b in sizes]
        self.body = nn.Sequential(*(layer for block in blocks for layer in block))
        self.last = nn.Linear(2 * width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, outputs]."""
        found = self.body(x.squeeze(1))
        return self.last(torch.cat([found.mean(2), found.amax(2)], 1))


class Rebuild(Learner):
    """The mean square error of what is given back; an example's label is its row of `targets`."""

    lr_setting = "explain.lr"

    def __init__(self, targets: Tensor):
        self.targets = targets

    def loss(self, net: nn.Module, batch: Batch) -> Tensor:
        """See the class."""
        return F.mse_loss(net(batch.x).float(), self.targets[batch.y])


@torch.no_grad()
def outputs(net: nn.Module, split: Split) -> Tensor:
    """What the network gives for all examples."""
    return torch.cat([net(split.batch(index).x) for index in split.chunks(AT_ONCE)])
