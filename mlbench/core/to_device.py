"""Dataclasses that go to a device with all they hold."""

from dataclasses import Field, fields, replace
from typing import Any, ClassVar, Self

import torch


class ToDevice:
    """A dataclass that goes to a device with all its tensors and what else can move."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]  # subclasses are dataclasses

    def to(self, device: torch.device) -> Self:
        """On `device`."""
        parts = {each.name: to_device(getattr(self, each.name), device) for each in fields(self)}
        return replace(self, **parts)


def to_device(part: object, device: torch.device) -> object:
    """A tensor, a dict of them, or something with a method `to`, on `device`; anything else as it is."""
    if isinstance(part, dict):
        return {name: to_device(each, device) for name, each in part.items()}
    return part.to(device) if hasattr(part, "to") else part
