"""The networks of timm, and their weights."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mlbench.core.errors import UserError, first_line, nearest, need
from mlbench.core.quiet import errors_only
from mlbench.models.network_record import NetworkRecord, imagenet_classes

CLIENT = "huggingface_hub"  # whose logger tells of every attempt
FILE = "model.safetensors"  # of timm's networks on Hugging Face's hub


class Timm(nn.Module):
    """A network of timm (PyTorch Image Models), from pictures [B, C, H, W] to logits [B, outputs].

    Args:
        input_shape: Channels, height and width of a picture.
        outputs: Number of classes.
        name: Name of the network in timm, with or without its weights, as in vit_tiny_patch16_224.augreg_in21k_ft_in1k.

    Raises:
        ValueError: For an unknown name, and for pictures that do not fit.
    """

    def __init__(self, input_shape: tuple[int, int, int], outputs: int, name: str):
        super().__init__()
        about = config_of(name)
        channels, height, width = input_shape
        if about.fixed_input_size and height != width:
            raise ValueError(f"name={name} takes square pictures, these are {height}x{width}")
        size = {"img_size": height} if about.fixed_input_size else {}
        self.net = library().create_model(name, num_classes=outputs, in_chans=channels, **size)

    @classmethod
    def record(cls, settings: dict[str, Any]) -> NetworkRecord:
        """What timm says of the weights."""
        about = config_of(settings["name"])
        mean, std = (tuple(255 * value for value in values) for values in (about.mean, about.std))
        source = about.hf_hub_id or about.url or "timm"
        classes = class_names(about)
        return NetworkRecord(about.input_size[-1], mean, std, classes, about.crop_pct, source, about.license or "")

    @classmethod
    def weights_file(cls, settings: dict[str, Any]) -> Path | None:
        """The file of timm's weights, from the cache of Hugging Face's hub, or else fetched into it."""
        if settings["weights"] != "pretrained":
            return None
        about, name = config_of(settings["name"]), settings["name"]
        hub = need("huggingface_hub", "timm", "model.weights=pretrained of model=timm")
        try:
            with errors_only(CLIENT):
                return Path(hub.hf_hub_download(about.hf_hub_id or f"timm/{name}", FILE))
        except Exception as error:  # the hub's client raises errors of many classes
            raise UserError(
                f"model.weights=pretrained: {name} cannot be fetched from Hugging Face's hub ({first_line(error)})\n"
                "give weights that you have as model.weights=FILE"
            ) from error

    def forward(self, x: Tensor) -> Tensor:
        """The logits [B, outputs] of pictures [B, C, H, W]."""
        return self.net(x)


def library() -> Any:
    """timm. Raises UserError where it is not installed."""
    return need("timm", "timm", "model=timm")


def config_of(name: str) -> Any:
    """What timm says of a network and its weights. Raises ValueError for a name that it does not know."""
    found = library().get_pretrained_cfg(name) if library().is_model(name.partition(".")[0]) else None
    if found is None:
        known = library().list_models(pretrained=True)
        raise ValueError(f"name={name}: timm has no such network with weights{nearest(name, known)}")
    return found


def class_names(about: Any) -> tuple[str, ...]:
    """The names of the outputs, where timm knows them."""
    if about.label_names:
        return tuple(about.label_names)
    if about.num_classes == 1000:
        return imagenet_classes()
    return ()
