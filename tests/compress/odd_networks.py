"""Small networks for pictures [B, 3, 16, 16] with layers that techniques stumble over."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SameConv2d(nn.Conv2d):
    """A convolution that pads by what it is given, as EfficientNet-Lite's do."""

    def forward(self, x: Tensor) -> Tensor:
        sides = [max((-(-size // s) - 1) * s + k - size, 0) for size, s, k in zip(
            x.shape[-2:], self.stride, self.kernel_size, strict=True)]  # fmt: skip
        x = F.pad(x, [sides[1] // 2, sides[1] - sides[1] // 2, sides[0] // 2, sides[0] - sides[0] // 2])
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class StandardConv2d(nn.Conv2d):
    """A convolution whose weights are standardised on the way, which no product of two such layers imitates."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight / self.weight.std((1, 2, 3), keepdim=True)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class PlainSubclass(nn.Linear):
    """A linear layer by another name."""


def head(width: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, outputs))


def same(shape, outputs):
    norm = nn.BatchNorm2d(12)
    layers = [SameConv2d(3, 8, 3, stride=2), nn.ReLU(), SameConv2d(8, 12, 3, bias=False), norm, nn.ReLU()]
    return nn.Sequential(*layers, *head(12, outputs))


def standard(shape, outputs):
    layers = [StandardConv2d(3, 8, 3), nn.ReLU(), StandardConv2d(8, 12, 3), nn.ReLU()]
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), PlainSubclass(12, 9), nn.ReLU(), nn.Linear(9, outputs)
    )


def prelu(shape, outputs):
    layers = [nn.Conv2d(3, 8, 3), nn.PReLU(8), nn.Conv2d(8, 12, 3), nn.PReLU(), nn.Conv2d(12, 8, 3), nn.PReLU(8)]
    return nn.Sequential(*layers, *head(8, outputs))


def instance_norm(shape, outputs):
    layers = [nn.Conv2d(3, 8, 3), nn.InstanceNorm2d(8, affine=True), nn.ReLU(), nn.Conv2d(8, 12, 3)]
    return nn.Sequential(
        *layers, nn.InstanceNorm2d(12, affine=True, track_running_stats=True), nn.ReLU(), *head(12, outputs)
    )


def group_norm(shape, outputs):
    layers = [nn.Conv2d(3, 8, 3), nn.GroupNorm(4, 8), nn.ReLU(), nn.Conv2d(8, 12, 3), nn.GroupNorm(3, 12), nn.ReLU()]
    return nn.Sequential(*layers, *head(12, outputs))


def transposed(shape, outputs):
    layers = [nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.ConvTranspose2d(8, 12, 2, stride=2), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(12, 8, 3), nn.ReLU(), *head(8, outputs))


class Joined(nn.Module):
    """Two branches side by side, and a shortcut past them."""

    def __init__(self, shape, outputs):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.left, self.right = nn.Conv2d(8, 4, 3, padding=1), nn.Conv2d(8, 4, 1)
        self.head = head(8, outputs)

    def forward(self, x):
        x = self.norm(self.stem(x)).relu()
        return self.head((x + torch.cat([self.left(x), self.right(x)], 1)).relu())


class Attending(nn.Module):
    """Rows of the picture attend to one another."""

    def __init__(self, shape, outputs):
        super().__init__()
        self.embed, self.place = nn.Linear(48, 16), nn.Parameter(torch.zeros(1, 16, 16))
        self.attention, self.norm = nn.MultiheadAttention(16, 4, batch_first=True), nn.LayerNorm(16)
        self.wide, self.narrow, self.head = nn.Linear(16, 32), nn.Linear(32, 16), nn.Linear(16, outputs)

    def forward(self, x):
        x = self.embed(x.transpose(1, 2).flatten(2)) + self.place
        x = x + self.attention(x, x, x, need_weights=False)[0]
        x = x + self.narrow(F.gelu(self.wide(self.norm(x))))
        return self.head(x.mean(1))


class Encoder(nn.Module):
    """Torch's own encoder, which reads the weights of its layers in eval mode."""

    def __init__(self, shape, outputs):
        super().__init__()
        self.embed, self.head = nn.Linear(48, 16), nn.Linear(16, outputs)
        layer = nn.TransformerEncoderLayer(16, 4, 24, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x):
        return self.head(self.encoder(self.embed(x.transpose(1, 2).flatten(2))).mean(1))


class Recurrent(nn.Module):
    """Reads the picture row by row."""

    def __init__(self, shape, outputs):
        super().__init__()
        self.rows, self.head = nn.LSTM(48, 12, batch_first=True), nn.Linear(12, outputs)

    def forward(self, x):
        return self.head(self.rows(x.transpose(1, 2).flatten(2))[0][:, -1])


def frozen(shape, outputs):
    layers = [nn.Conv2d(3, 8, 3).requires_grad_(False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 12, 3), nn.ReLU()]
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, outputs)
    )


class Tuple(nn.Module):
    """Gives its features beside the logits."""

    def __init__(self, shape, outputs):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 12, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
        )
        self.head = nn.Linear(12, outputs)

    def forward(self, x):
        features = self.features(x).flatten(1)
        return features, self.head(features)


def vit(shape, outputs):
    from torchvision.models import VisionTransformer

    return VisionTransformer(16, 4, 2, 4, 16, 32, num_classes=outputs)


def swin(shape, outputs):
    from torchvision.models import SwinTransformer

    return SwinTransformer([2, 2], 8, [1, 1], [2, 4], [4, 4], num_classes=outputs)


NETWORKS = {
    "same": same, "standard": standard, "prelu": prelu, "instance norm": instance_norm, "group norm": group_norm,
    "transposed": transposed, "joined": Joined, "attending": Attending, "encoder": Encoder, "recurrent": Recurrent,
    "frozen": frozen, "tuple": Tuple, "vit": vit, "swin": swin,
}  # fmt: skip
