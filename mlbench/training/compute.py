"""Where and how numbers are computed."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch


@dataclass
class Compute:
    """Where and how numbers are computed."""

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: str = "fp32"
    samples: int = 0  # examples that all fits of the process have gone over, each counted once an epoch

    def autocast(self) -> AbstractContextManager:
        """The context of the forward pass of every training step; what methods compute besides stays in fp32."""
        if self.precision == "bf16":
            return torch.autocast(self.device.type, torch.bfloat16)
        return nullcontext()

    def wait(self) -> None:
        """Return when the device has done all it was given, so that clocks tell the truth."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
