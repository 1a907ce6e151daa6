"""How much a network from a file may hold, so that a small file cannot fill the memory.

A file that prunes or codes its weights well is far smaller than the network it describes, yet not by any factor.
"""

from collections.abc import Generator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn.modules import module as registration

FREE_BYTES = 2**26  # that a network may take, however small its file is
FACTOR = 2**14  # by which it may be larger than its file: a byte for each 4096 weights
MODULE_BYTES = 2**12  # about what a module takes beside its numbers


def most_bytes(file_bytes: int) -> int:
    """How many bytes of numbers may come from a file of so many bytes."""
    return max(FREE_BYTES, FACTOR * file_bytes)


@contextmanager
def bounded(most: int) -> Generator[None]:
    """Stop the building of modules as soon as what has been registered takes more than `most` bytes.

    torch reserves the memory of a parameter before it is registered and fills it afterwards, so that what is refused
    has cost nothing. Raises ValueError.
    """
    total = 0

    def add(size: int) -> None:
        nonlocal total
        total += size
        if total > most:
            raise ValueError(f"it claims more than {most} bytes, too much for the length of its file")

    def add_tensor(_: nn.Module, __: str, tensor: Tensor | None) -> None:
        add(0 if tensor is None else tensor.nbytes)

    def add_module(_: nn.Module, __: str, inner: nn.Module | None) -> None:
        add(MODULE_BYTES + (0 if inner is None else sum(tensor.nbytes for tensor in inner.parameters())))  # a copy, too

    hooks = [
        registration.register_module_parameter_registration_hook(add_tensor),
        registration.register_module_buffer_registration_hook(add_tensor),
        registration.register_module_module_registration_hook(add_module),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
