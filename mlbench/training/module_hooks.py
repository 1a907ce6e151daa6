"""Hooks on the layers of a network that are gone when they are not needed any more."""

from collections.abc import Generator, Iterable
from contextlib import contextmanager

from torch.utils.hooks import RemovableHandle


@contextmanager
def hooked(handles: Iterable[RemovableHandle]) -> Generator[None]:
    """Inside, the hooks that were given these handles are there; outside they are not, also after an error."""
    handles = list(handles)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
