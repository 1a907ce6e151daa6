"""The classification networks of torchvision, and its ImageNet weights."""

import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mlbench.core.errors import UserError, nearest, need
from mlbench.core.user_path import user_path
from mlbench.models.build import fit_outputs
from mlbench.models.network_record import NetworkRecord

AUXILIARY = {"aux1", "aux2", "AuxLogits"}  # of GoogLeNet and Inception
PRETRAINED = {"pretrained", "DEFAULT"}  # names of the weights that torchvision recommends


class Torchvision(nn.Module):
    """A classification network of torchvision, from pictures [B, C, H, W] to logits [B, outputs].

    Args:
        input_shape: Channels, height and width of a picture; a single channel is repeated three times.
        outputs: Number of classes.
        name: Name of the network in torchvision.

    Raises:
        ValueError: For an unknown name, and for networks or pictures that do not fit.
    """

    def __init__(self, input_shape: tuple[int, int, int], outputs: int, name: str):
        super().__init__()
        if input_shape[0] not in (1, 3):
            raise ValueError(f"needs 1 or 3 channels, these pictures have {input_shape[0]}")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The default weight initialization", FutureWarning)  # its own matter
            self.net = library(name).get_model(name)
        if getattr(self.net, "aux_logits", False):  # classifiers half way, for a loss that nothing here asks for
            self.net.aux_logits = False
            for part in AUXILIARY & dict(self.net.named_children()).keys():
                setattr(self.net, part, None)
        if not any(isinstance(module, nn.Linear) for module in self.net.modules()):
            raise ValueError(f"name={name} does not end in a linear layer that could be made to fit")
        fit_outputs(self.net, outputs)

    @classmethod
    def record(cls, settings: dict[str, Any]) -> NetworkRecord:
        """What torchvision says of the weights that `weights` names, of those it recommends for a file."""
        weights = weights_of(settings["name"], str(settings["weights"])) or weights_of(settings["name"], "DEFAULT")
        about = weights.transforms()
        mean, std = (tuple(255 * value for value in values) for values in (about.mean, about.std))
        crop = min(1.0, about.crop_size[0] / about.resize_size[0])
        return NetworkRecord(about.crop_size[0], mean, std, tuple(weights.meta["categories"]), crop, weights.url)

    @classmethod
    def weights_file(cls, settings: dict[str, Any]) -> Path | None:
        """The file of torchvision's weights, from torch's cache, or else fetched into it."""
        name, wanted = settings["name"], str(settings["weights"])
        if (weights := weights_of(name, wanted)) is None:
            if user_path(wanted).exists():
                return None
            known = ", ".join(each.name for each in library(name).get_model_weights(name))
            raise UserError(f"model.weights={wanted} is no file, and torchvision's of {name} are: pretrained, {known}")
        path = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rpartition("/")[2]
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            digest = path.stem.rpartition("-")[2]  # the beginning of the file's SHA-256
            try:
                torch.hub.download_url_to_file(weights.url, str(path), digest, progress=False)
            except (OSError, RuntimeError) as error:
                raise UserError(
                    f"model.weights={wanted}: {weights.url} cannot be fetched ({error})\n"
                    f"put that file at {path}, or give weights that you have as model.weights=FILE"
                ) from error
        return path

    def forward(self, x: Tensor) -> Tensor:
        """The logits [B, outputs] of pictures [B, 1 or 3, H, W]."""
        return self.net(x.expand(-1, 3, -1, -1))


def library(name: str) -> Any:
    """torchvision's module of networks, which knows this classification network. Raises ValueError."""
    models = need("torchvision.models", "vision", "model=torchvision")
    available = models.list_models(module=models)
    if name not in available:
        raise ValueError(f"name={name}: torchvision knows {', '.join(available[:8])}, ...{nearest(name, available)}")
    return models


def networks() -> Iterator[tuple[str, nn.Module]]:
    """Name and structure, without memory for weights, of all classification networks of torchvision that allow it."""
    models = need("torchvision.models", "vision", "a list of torchvision's networks")
    for name in models.list_models(module=models):
        with warnings.catch_warnings(), suppress(NotImplementedError), torch.device("meta"):
            warnings.simplefilter("ignore", FutureWarning)
            yield name, models.get_model(name)


def weights_of(network: str, name: str) -> Any:
    """torchvision's entry of the weights of this name; None where it has none of this name. Raises ValueError."""
    options = library(network).get_model_weights(network)
    return getattr(options, "DEFAULT" if name in PRETRAINED else name, None)
