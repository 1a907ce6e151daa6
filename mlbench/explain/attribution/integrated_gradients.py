"""Integrated gradients: attributions along a path from a baseline."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from mlbench.core.errors import need, require
from mlbench.data.modality import EVERY
from mlbench.data.stream import Task
from mlbench.explain.attribution.baselines import REFERENCES
from mlbench.explain.attribution.captum_adapter import quietly
from mlbench.explain.base import Attribution, Context, at_once

AT_ONCE = 64  # pictures; more would only take more memory


@dataclass
class IntegratedGradients(Attribution):
    """(x - b) times the mean gradient on the straight path from b to x (Sundararajan et al. 2017, eq. 1), by captum.

    Where the baseline b and x agree, the attribution is zero, however important the value is to the network.

    Args:
        baseline: b: `zero` (black pixels, or a raw 0 in a table), `mean` of the training data, or the input blurred.
        steps: Points of the Gauss-Legendre rule; with 50, completeness is off by up to 3 % on a residual network.
    """

    modalities = EVERY
    shortest = {"steps": 2}

    baseline: Literal["zero", "mean", "blur"]
    steps: int

    def __post_init__(self):
        super().__post_init__()
        require(self.steps >= 1, "steps", self.steps, "1 or more")

    def check_data(self, task: Task, classes: list[str]) -> None:
        """Blurring needs an order of the parts."""
        super().check_data(task, classes)
        allowed = f"zero|mean for {task.modality.name}"
        require(task.modality.ordered or self.baseline != "blur", "baseline", self.baseline, allowed)

    def check(self, net: nn.Module) -> None:  # noqa: ARG002
        """Raise UserError unless captum is installed."""
        need("captum.attr", "explain", "explain=integrated_gradients")

    def look(self, context: Context) -> None:
        """Read the value of a black pixel."""
        self.black = context.black

    def origin(self, x: Tensor) -> Tensor:
        """The baseline."""
        return REFERENCES[self.baseline](x, self.black)

    def maps(self, net: nn.Module, x: Tensor, target: Tensor) -> Tensor:
        """[B, C, H, W]. Memory does not grow with `steps`."""
        from captum.attr import IntegratedGradients as Captums

        attribute, parts, most = Captums(net).attribute, [], at_once(AT_ONCE, x)
        settings = {"n_steps": self.steps, "internal_batch_size": most}
        for a, b in zip(x.split(most), target.split(most), strict=True):
            parts.append(quietly(attribute, a, baselines=self.origin(a), target=b, **settings))
        return torch.cat(parts)
