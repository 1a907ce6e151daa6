"""Small convolutional networks."""

from typing import Literal

from torch import nn


class LeNet5(nn.Sequential):
    """LeNet-5 as in Caffe and Han et al. (2015): 20 and 50 filters of 5x5, 500 hidden units; 431,080 weights on MNIST.

    It maps pictures [B, C, H, W] to logits [B, outputs].

    Args:
        input_shape: Channels, height and width of a picture, at least 16x16 pixels.
        outputs: Number of classes.

    Raises:
        ValueError: For data that is not pictures, and for smaller ones.
    """

    def __init__(self, input_shape: tuple[int, int, int], outputs: int):
        if len(input_shape) != 3:
            raise ValueError("takes pictures [C, H, W]; other data need another model=")
        channels, *sides = input_shape
        if min(sides) < 16:
            raise ValueError(f"needs pictures of at least 16x16 pixels, these are {sides[0]}x{sides[1]}")
        height, width = (((side - 4) // 2 - 4) // 2 for side in sides)
        super().__init__(
            nn.Conv2d(channels, 20, 5),
            nn.MaxPool2d(2),
            nn.Conv2d(20, 50, 5),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(50 * height * width, 500),
            nn.ReLU(),
            nn.Linear(500, outputs),
        )


class CNN(nn.Sequential):
    """Blocks of 3x3 convolution, batch norm, ReLU and 2x2 pooling, then global pooling and one linear layer.

    It maps pictures [B, C, H, W] to logits [B, outputs].

    Args:
        input_shape: Channels, height and width of a picture, sides of at least 2 ** len(channels) pixels.
        outputs: Number of classes.
        channels: Output channels of each block.
        over_places: Global pooling: the `mean` or the `maximum` of each channel. With the maximum one position decides,
            and gradients reach only the pixels that it sees.

    Raises:
        ValueError: For data that is not pictures, for too small ones, and for settings out of range.
    """

    def __init__(
        self,
        input_shape: tuple[int, int, int],
        outputs: int,
        channels: list[int],
        over_places: Literal["mean", "maximum"] = "mean",
    ):
        if len(input_shape) != 3:
            raise ValueError("takes pictures [C, H, W]; other data need another model=")
        width, *sides = input_shape
        if not channels or any(count < 1 for count in channels):
            raise ValueError(f"channels={list(channels)}: one block or more, each of 1 channel or more")
        if over_places not in OVER_PLACES:
            raise ValueError(f"over_places={over_places}: {' or '.join(OVER_PLACES)}")
        if min(sides) < 2 ** len(channels):
            raise ValueError(f"{len(channels)} poolings leave nothing of pictures of {sides[0]}x{sides[1]} pixels")
        layers: list[nn.Module] = []
        for following in channels:
            layers += [
                nn.Conv2d(width, following, 3, padding=1, bias=False),
                nn.BatchNorm2d(following),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ]
            width = following
        super().__init__(*layers, OVER_PLACES[over_places](1), nn.Flatten(), nn.Linear(width, outputs))


OVER_PLACES = {"mean": nn.AdaptiveAvgPool2d, "maximum": nn.AdaptiveMaxPool2d}
