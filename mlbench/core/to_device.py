"""Dataclasses whose tensors can be moved to a device together."""

from dataclasses import Field, fields, replace
from typing import Any, ClassVar, Self

import torch


class ToDevice:
    """Base class of dataclasses that are copied to a device with all their tensors, and whatever else has `to`."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]  # subclasses are dataclasses

    def to(self, device: torch.device) -> Self:
        """Return a copy of which every field is on `device`."""
        parts = {each.name: to_device(getattr(self, each.name), device) for each in fields(self)}
        return replace(self, **parts)


def to_device(part: object, device: torch.device) -> object:
    """Return `part` on `device`: a tensor, a dict, or anything with a method `to`; other values as they are."""
    if isinstance(part, dict):
        return {name: to_device(each, device) for name, each in part.items()}
    return part.to(device) if hasattr(part, "to") else part
