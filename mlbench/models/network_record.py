"""What a network that was trained elsewhere needs to be used, beside its weights."""

import runpy
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from mlbench.core.errors import need


@dataclass(frozen=True)
class NetworkRecord:
    """The inputs that a network was trained on, and what its outputs stand for; None and empty: not known.

    Attributes:
        side: Pixels of a side of its square pictures.
        mean, std: Of each channel, for values of 0 to 255: the network takes (x - mean) / std.
        crop: Share of the shorter side of a photograph that is kept, around the middle.
        classes: The names of its outputs.
        source: Where the weights are from, a line.
        licence: Of the weights.
    """

    side: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    classes: tuple[str, ...] = ()
    crop: float = 1.0
    source: str = ""
    licence: str = ""

    def changed(self, settings: dict[str, Any]) -> "NetworkRecord":
        """The same with those of `size`, `mean`, `std` and `classes` that a user has set (the others are None)."""
        changes: dict[str, Any] = {}
        if settings.get("size") is not None:
            changes["side"] = int(settings["size"])
        for name in ("mean", "std", "classes"):
            if settings.get(name) is not None:
                changes[name] = tuple(settings[name])
        return replace(self, **changes)


@runtime_checkable
class MadeElsewhere(Protocol):
    """A model class of which it is known how others have trained its weights."""

    @classmethod
    def record(cls, settings: dict[str, Any]) -> NetworkRecord:
        """What is known of the network that these settings of its config node describe. Raises ValueError."""
        ...

    @classmethod
    def weights_file(cls, settings: dict[str, Any]) -> Path | None:
        """The file or folder with the weights that `weights` in these settings names, which may be fetched first.

        None where it is no name of weights that come with the model. Raises UserError where they cannot be had.
        """
        ...


@runtime_checkable
class ReadsFolders(Protocol):
    """A model class whose library has a format of folders of its own."""

    @classmethod
    def read_folder(cls, folder: Path) -> dict[str, Tensor]:
        """The weights in a folder by the names in the network. Raises UserError where they cannot be read."""
        ...


def imagenet_classes() -> tuple[str, ...]:
    """The names of the 1,000 classes, in the order of the outputs of ImageNet networks.

    They stand in a file of torchvision, which is read by itself where it is there: to import all takes seconds.
    """
    spec = find_spec("torchvision")
    if spec is not None and spec.origin and (file := Path(spec.origin).with_name("models") / "_meta.py").is_file():
        names = runpy.run_path(str(file)).get("_IMAGENET_CATEGORIES")
        if names is not None:
            return tuple(names)
    models = need("torchvision.models", "vision", "the names of the classes of ImageNet")
    return tuple(models.ResNet18_Weights.IMAGENET1K_V1.meta["categories"])
