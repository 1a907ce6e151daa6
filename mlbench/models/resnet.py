"""Residual networks (He et al. 2016) for small pictures: the stem is one 3x3 convolution without pooling."""

from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, which is a 1x1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU()  # a module of its own: attribution methods cannot tell two uses of one apart
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map feature maps [B, inputs, H, W] to [B, outputs, H / stride, W / stride]."""
        inner = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return self.relu2(inner + self.shortcut(x))


class ResNet18(nn.Sequential):
    """ResNet-18 for small pictures, from pictures [B, C, H, W] to logits [B, outputs].

    Args:
        input_shape: Channels, height and width of a picture, at least 8x8 pixels.
        outputs: Number of classes.
        width: Channels of the first stage: 64 in the paper, 20 in the reduced network of the GEM paper.

    Raises:
        ValueError: For data that is not pictures, for too small ones, and for a width below 1.
    """

    def __init__(self, input_shape: tuple[int, int, int], outputs: int, width: int = 64):
        if len(input_shape) != 3:
            raise ValueError("takes pictures [C, H, W]; other data need another model=")
        channels, *sides = input_shape
        if width < 1:
            raise ValueError(f"width={width}: allowed is 1 or more")
        if min(sides) < 8:
            raise ValueError(f"needs pictures of at least 8x8 pixels, these are {sides[0]}x{sides[1]}")
        stem = [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        blocks = []
        inputs = width
        for stage in range(4):
            for stride in ((1 if stage == 0 else 2), 1):
                blocks.append(BasicBlock(inputs, width * 2**stage, stride))
                inputs = width * 2**stage
        super().__init__(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, outputs))
