"""Peak memory of a computation."""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def peak_bytes(compute: Callable[[], object], device: torch.device) -> int:
    """The largest number of bytes that `compute` allocates at a time for tensors.

    On CUDA it is measured by the allocator; on the CPU the storages that operators return are counted, without the
    workspace of kernels.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        compute()
        return torch.cuda.max_memory_allocated(device) - before
    with Storages() as counter:
        compute()
    return counter.peak


class Storages(TorchDispatchMode):
    """Counts the bytes of storages that are allocated and released inside the context."""

    def __init__(self):
        super().__init__()
        self.live_bytes = self.peak = 0
        self.registry: weakref.WeakSet = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> object:
        """Run the operator; what it returns in place of its inputs, or as a view of them, is nothing new."""
        old = {storage.data_ptr() for storage in storages((args, kwargs))}
        result = func(*args, **(kwargs or {}))
        for storage in storages(result):
            if storage.data_ptr() not in old and storage not in self.registry:
                self.registry.add(storage)
                self.live_bytes += storage.nbytes()
                weakref.finalize(storage, self.release, storage.nbytes())
        self.peak = max(self.peak, self.live_bytes)
        return result

    def release(self, count: int) -> None:
        """A storage of so many bytes is no more."""
        self.live_bytes -= count


def storages(parts: object) -> list[torch.UntypedStorage]:
    """What the tensors among `parts` lie in."""
    return [part.untyped_storage() for part in tree_leaves(parts) if isinstance(part, Tensor)]
