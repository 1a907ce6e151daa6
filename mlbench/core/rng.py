"""All random numbers of a run come from its seed, through generators that do not disturb one another."""

import hashlib
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def apart(device: torch.device, seed: int | None = None) -> Generator[None]:
    """Restore torch's global generators, of the CPU and of `device`, on leaving the context.

    Args:
        device: The device that the context computes on.
        seed: Seed of the generators inside; None continues from their current state.
    """
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        if seed is not None:
            (torch.manual_seed if device.type == "cuda" else torch.default_generator.manual_seed)(seed)  # no others
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
        """Return a seed for `purpose`, unrelated to those of other purposes and of neighbouring seeds."""
        return int.from_bytes(hashlib.sha256(f"{self.seed}/{purpose}".encode()).digest()[:6])

    def generator(self, purpose: str) -> torch.Generator:
        """A fresh generator on the CPU."""
        return torch.Generator().manual_seed(self.derived(purpose))

    def state(self) -> dict[str, Any]:
        """Return the state of every generator, for a checkpoint."""
        return {
            "batches": self.batches.get_state(),
            "method": self.method.get_state(),
            "global": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Restore the generators from the result of `state`."""
        self.batches.set_state(state["batches"])
        self.method.set_state(state["method"])
        torch.set_rng_state(state["global"])
        if state["cuda"] is not None:
            torch.cuda.set_rng_state(state["cuda"], self.device)
