"""How much a network from a file may hold, so that a small file cannot fill the memory.

A file that prunes or codes its weights well is far smaller than the network it describes, yet not by any factor.
"""

from collections.abc import Generator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn.modules import module as registration

FREE_BYTES = 2**26  # that a network may take, however small its file is
FACTOR = 2**14  # by which it may be larger than its file: a byte for each 4096 weights
FREE_OBJECTS = 2**13  # modules and tensors, those of nested modules counted at each level
BYTES_OF_AN_OBJECT = 2**4  # that a file needs for each of them, and more


def most_bytes(file_bytes: int) -> int:
    """How many bytes of numbers may come from a file of so many bytes."""
    return max(FREE_BYTES, FACTOR * file_bytes)


@contextmanager
def bounded(file_bytes: int) -> Generator[None]:
    """Stop the building of modules as soon as what has been registered is too much for a file of so many bytes.

    torch reserves the memory of a parameter before it is registered and fills it afterwards, so that what is refused
    has cost nothing. Raises ValueError.
    """
    left, objects = most_bytes(file_bytes), max(FREE_OBJECTS, file_bytes // BYTES_OF_AN_OBJECT)

    def add(size: int) -> None:
        nonlocal left, objects
        left, objects = left - size, objects - 1
        if left < 0 or objects < 0:
            raise ValueError(f"it claims to be larger than a network in {file_bytes} bytes can be")

    def add_tensor(_: nn.Module, __: str, tensor: Tensor | None) -> None:
        if tensor is not None:
            add(tensor.nbytes)

    def add_module(_: nn.Module, __: str, inner: nn.Module | None) -> None:
        add(0)
        for tensor in [] if inner is None else inner.parameters():  # of a copy nothing has been registered
            add(tensor.nbytes)

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
