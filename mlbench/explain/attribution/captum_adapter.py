"""Calls of captum: classes by name, random numbers from the run's generator, and no expected warnings."""

import inspect
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from mlbench.core.errors import UserError, nearest
from mlbench.core.rng import apart

EXPECTED = (  # warnings that captum gives at every call
    "Setting backward hooks on ReLU activations",
    "Setting forward, backward hooks and attributes on non-linear",
    "Input Tensor 0 did not already require gradients",
    "Input Tensor 0 had a non-zero gradient tensor",
)


def captum_class(name: str, setting: str) -> type:
    """The attribution class of captum.attr called `name`. Raises UserError for anything else."""
    import captum.attr

    members = {key: value for key, value in vars(captum.attr).items() if inspect.isclass(value)}
    classes = {key: value for key, value in members.items() if issubclass(value, captum.attr.Attribution)}
    name = name.removeprefix("captum.attr.")
    if name not in classes:
        raise UserError(f"{setting}={name}: no attribution class of captum.attr{nearest(name, classes)}")
    return classes[name]


@contextmanager
def drawing(generator: torch.Generator, device: torch.device) -> Iterator[None]:
    """Captum draws from the global generators of torch and numpy: seeded by `generator` inside, as before outside."""
    seed, numpy_state = int(torch.randint(2**31, (), generator=generator)), np.random.get_state()
    try:
        with apart(device, seed):
            np.random.seed(seed)
            yield
    finally:
        np.random.set_state(numpy_state)


def quietly(attribute: Callable[..., Tensor], x: Tensor, **arguments: object) -> Tensor:
    """What captum's `attribute` gives for pictures, detached, without the warnings that are EXPECTED."""
    with warnings.catch_warnings():
        for message in EXPECTED:
            warnings.filterwarnings("ignore", message=message)
        return attribute(x.detach().requires_grad_(), **arguments).detach()
