"""How many parameters networks have."""

from collections.abc import Iterable

from torch import nn


def parameter_count(nets: Iterable[nn.Module]) -> int:
    """The numbers in all parameters of some networks together, those that they share counted once."""
    parameters = {id(parameter): parameter for net in nets for parameter in net.parameters()}
    return sum(parameter.numel() for parameter in parameters.values())
