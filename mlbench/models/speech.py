"""A convolutional and recurrent network for spoken words."""

from contextlib import nullcontext

import torch
from torch import Tensor, nn


class Speech(nn.Module):
    """Two convolutions over bands and time, two bidirectional GRUs, the mean over time, and a linear layer.

    It maps spectrograms [B, 1, bands, frames] to logits [B, outputs]. Each of the `layers` returns [B, frames, D] at
    the frame rate of the input, so that a probe can compare frame with frame.

    Args:
        input_shape: (1, bands, frames), with at least 4 bands.
        outputs: Number of classes.
        channels: Channels of both convolutions.
        hidden: Units of both GRUs in each direction.
        dropout: Probability of dropout behind each GRU.

    Raises:
        ValueError: For data that is not spectrograms.
    """

    layers = ("conv1", "conv2", "gru1", "gru2")

    def __init__(self, input_shape: tuple[int, ...], outputs: int, channels: int, hidden: int, dropout: float):
        super().__init__()
        if len(input_shape) != 3 or input_shape[0] != 1 or input_shape[1] < 4:
            raise ValueError("takes spectrograms [1, bands, frames] with 4 bands or more, as in data=tones")
        bands = input_shape[1]
        self.conv1 = Convolution(1, channels)
        self.conv2 = Convolution(channels, channels)
        self.gru1 = Recurrent(channels * (bands // 4), hidden, dropout)
        self.gru2 = Recurrent(2 * hidden, hidden, dropout)
        self.last = nn.Linear(2 * hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """The logits [B, outputs] of spectrograms [B, 1, bands, frames]."""
        frames = self.conv2(self.conv1(x.squeeze(1).transpose(1, 2)))
        return self.last(self.gru2(self.gru1(frames)).mean(1))


class Convolution(nn.Module):
    """3x3 convolution, batch norm, ReLU and pooling of every two bands.

    It maps [B, frames, C * bands] to [B, frames, D * (bands // 2)], C the `inputs` and D the `channels`.
    """

    def __init__(self, inputs: int, channels: int):
        super().__init__()
        self.inputs = inputs
        self.convolution = nn.Conv2d(inputs, channels, 3, padding=1, bias=False)
        self.norm, self.relu, self.pool = nn.BatchNorm2d(channels), nn.ReLU(), nn.MaxPool2d((1, 2))

    def forward(self, frames: Tensor) -> Tensor:
        """Map frames as the class says."""
        x = frames.unflatten(2, (self.inputs, -1)).transpose(1, 2)  # [B, C, frames, bands]
        return self.pool(self.relu(self.norm(self.convolution(x)))).transpose(1, 2).flatten(2)


class Recurrent(nn.Module):
    """A bidirectional GRU: [B, frames, inputs] to [B, frames, 2 * hidden]."""

    def __init__(self, inputs: int, hidden: int, dropout: float):
        super().__init__()
        self.gru, self.dropout = nn.GRU(inputs, hidden, batch_first=True, bidirectional=True), nn.Dropout(dropout)

    def forward(self, frames: Tensor) -> Tensor:
        """Map frames as the class says; in eval mode with gradients by torch's own code, as cuDNN's has none there."""
        own = torch.is_grad_enabled() and not self.training
        with torch.backends.cudnn.flags(enabled=False) if own else nullcontext():
            return self.dropout(self.gru(frames)[0])
