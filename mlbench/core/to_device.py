"""Dataclasses that go to a device with all they hold."""

from dataclasses import Field, fields, replace
from typing import Any, ClassVar, Self

import torch


class Moves:
    """A dataclass that goes to a device with all its tensors and what else can move."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]  # subclasses are dataclasses

    def to(self, device: torch.device) -> Self:
        """On `device`."""
        parts = {each.name: moved(getattr(self, each.name), device) for each in fields(self)}
        return replace(self, **parts)


def moved(part: object, device: torch.device) -> object:
    """A tensor, a dict of them, or something with a method `to`, on `device`; anything else as it is."""
    if isinstance(part, dict):
        return {name: moved(each, device) for name, each in part.items()}
    return part.to(device) if hasattr(part, "to") else part
