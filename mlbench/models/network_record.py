"""What a network that was trained elsewhere needs to be used, beside its weights."""

from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True)
class NetworkRecord:
    """The inputs that a network was trained on, and what its outputs stand for.

    Attributes:
        side: Pixels of a side of its square pictures.
        mean, std: Of each channel, for values of 0 to 255: the network takes (x - mean) / std.
        crop: Share of the shorter side of a photograph that is kept, around the middle.
        classes: The names of its outputs.
        source: Where the weights are from, a line.
        licence: Of the weights, where it is known.
    """

    side: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: tuple[str, ...]
    crop: float = 1.0
    source: str = ""
    licence: str = ""

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return len(self.mean), self.side, self.side

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
    """A model class whose weights others have trained."""

    @classmethod
    def record(cls, settings: dict[str, Any]) -> NetworkRecord:
        """What is known of the network that these settings of its config node describe. Raises ValueError."""
        ...
