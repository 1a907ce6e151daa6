"""How much memory a computation takes at its height."""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def peak_bytes(compute: Callable[[], object], device: torch.device) -> int:
    """The most bytes of tensors that `compute` holds at a time, beside those that were there before.

    On CUDA as the allocator counts them; on the CPU the storages that operators return, without what a kernel works in.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        compute()
        return torch.cuda.max_memory_allocated(device) - before
    with Storages() as held:
        compute()
    return held.peak


class Storages(TorchDispatchMode):
    """Counts the storages that come into being inside, and go."""

    def __init__(self):
        super().__init__()
        self.held = self.peak = 0
        self.known: weakref.WeakSet = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> object:
        """Run the operator; what it returns in place of its inputs, or as a view of them, is nothing new."""
        old = {storage.data_ptr() for storage in storages((args, kwargs))}
        result = func(*args, **(kwargs or {}))
        for storage in storages(result):
            if storage.data_ptr() not in old and storage not in self.known:
                self.known.add(storage)
                self.held += storage.nbytes()
                weakref.finalize(storage, self.gone, storage.nbytes())
        self.peak = max(self.peak, self.held)
        return result

    def gone(self, count: int) -> None:
        """A storage of so many bytes is no more."""
        self.held -= count


def storages(parts: object) -> list[torch.UntypedStorage]:
    """What the tensors among `parts` lie in."""
    return [part.untyped_storage() for part in tree_leaves(parts) if isinstance(part, Tensor)]
