"""What stands in front of a network: examples as they are kept become what it computes with."""

import torch
from torch import Tensor, nn

from mlbench.models.network_record import NetworkRecord


class Normalise(nn.Module):
    """Numbers to floats, (x - mean) / std: pictures [B, C, H, W] of 0..255 per channel, rows [B, F] per feature.

    Args:
        mean: [C], or of a shape that lies over the inputs: [1, C, 1, 1], [1, F].
        std: The same.
    """

    mean: Tensor  # [1, C, 1, 1] or [1, F]
    std: Tensor  # the same

    def __init__(self, mean: Tensor, std: Tensor):
        super().__init__()
        for name, values in (("mean", mean), ("std", std)):
            shaped = values.reshape(1, -1, 1, 1) if values.dim() == 1 else values
            self.register_buffer(name, shaped.float())

    def forward(self, pictures: Tensor) -> Tensor:
        """Fresh floats of the same shape."""
        return pictures.to(torch.float32, copy=True).sub_(self.mean).div_(self.std)

    @staticmethod
    def of_record(record: NetworkRecord) -> "Normalise | None":
        """That of a network which was trained elsewhere, where it is known."""
        if record.mean is None or record.std is None:
            return None
        return Normalise(torch.tensor(record.mean), torch.tensor(record.std))

    @staticmethod
    def fitted(pictures: Tensor) -> "Normalise":
        """Mean and standard deviation per channel of uint8 [N, C, H, W], exact, from counts of the 256 values."""
        values = torch.arange(256, dtype=torch.float64)
        counts = torch.zeros(pictures.shape[1], 256, dtype=torch.float64)
        for chunk in pictures.split(4096):  # a set that is mapped from the disk is never in memory whole
            for channel, count in zip(chunk.unbind(1), counts, strict=True):
                count += torch.bincount(channel.flatten(), minlength=256)
        mean = (counts @ values) / counts.sum(1)
        variance = (counts * (values - mean[:, None]).square()).sum(1) / counts.sum(1)
        return Normalise(mean, variance.sqrt().clamp(min=1e-6))

    @staticmethod
    def of_features(rows: Tensor) -> "Normalise":
        """Mean and standard deviation of each feature of [N, F]; a constant one keeps its size."""
        std, mean = torch.std_mean(rows.double(), 0, correction=0, keepdim=True)
        return Normalise(mean, torch.where(std > 0, std, 1.0))


class AsIds(nn.Module):
    """What stands in for `Normalise` where examples are texts: whole numbers [B, L] as int64."""

    def forward(self, ids: Tensor) -> Tensor:
        """The same numbers."""
        return ids.long()
