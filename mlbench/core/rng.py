"""All random numbers of a run come from its seed, through generators that do not disturb one another."""

import hashlib
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def apart(device: torch.device, seed: int | None = None) -> Generator[None]:
    """Draws from torch's global generators inside, seeded by `seed` if given, leave no trace outside.

    They are the CPU's, and that of `device` if it is another.
    """
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        if seed is not None:
            torch.manual_seed(seed)
        yield


class Draws:
    """One generator for each purpose, so that every method meets the same tasks, network and order at one seed.

    `stream` makes the tasks, `batches` orders and augments examples, `method` is the technique's own. Torch's global
    generators, which initialise networks and drive dropout, are seeded too.
    """

    def __init__(self, seed: int, device: torch.device):
        self.seed, self.device = seed, device
        self.stream, self.batches, self.method = (self.generator(name) for name in ("stream", "batches", "method"))
        torch.manual_seed(self.derived("network"))

    def derived(self, purpose: str) -> int:
        """A seed for `purpose`, unrelated to those of other purposes and neighbouring seeds."""
        return int.from_bytes(hashlib.sha256(f"{self.seed}/{purpose}".encode()).digest()[:6])

    def generator(self, purpose: str) -> torch.Generator:
        """A fresh generator on the CPU."""
        return torch.Generator().manual_seed(self.derived(purpose))

    def state(self) -> dict[str, Any]:
        """Where every generator stands, for a checkpoint."""
        return {
            "batches": self.batches.get_state(),
            "method": self.method.get_state(),
            "global": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        self.batches.set_state(state["batches"])
        self.method.set_state(state["method"])
        torch.set_rng_state(state["global"])
        if state["cuda"] is not None:
            torch.cuda.set_rng_state(state["cuda"], self.device)
