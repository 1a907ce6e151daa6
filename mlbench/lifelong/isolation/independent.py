"""Independent models: one for each task."""

import copy
from dataclasses import dataclass
from typing import Any

from torch import nn

from mlbench.data.stream import Task
from mlbench.lifelong.base import frozen_copy
from mlbench.lifelong.isolation.per_task import PerTask


@dataclass
class Independent(PerTask):
    """A fresh network for each task, told at test time which task it is: no forgetting, T times the storage."""

    frozen_networks = ("initial",)

    def start_task(self, net: nn.Module, task: Task) -> nn.Module:
        """A copy of the network as it was before the first task."""
        if not self.numbers:
            self.initial, self.learned = frozen_copy(net), []
        super().start_task(net, task)
        fresh = copy.deepcopy(self.initial).requires_grad_(True)
        self.learned.append(fresh)
        return fresh

    def predictor(self, net: nn.Module, task: int) -> nn.Module:
        """The network that learned the task."""
        return self.learned[self.part(task)] if self.numbers else net

    def networks(self, net: nn.Module) -> list[nn.Module]:  # noqa: ARG002
        """One for each task."""
        return self.learned

    def state(self) -> dict[str, Any]:
        """The weights of all networks besides."""
        weights = {"networks": [net.state_dict() for net in self.learned]} if self.numbers else {}
        return {**super().state(), **weights}

    def load_state(self, state: dict[str, Any], net: nn.Module) -> nn.Module:
        """Rebuild the networks; the last one is `net` itself."""
        networks = state.pop("networks", None)
        super().load_state(state, net)
        if networks:
            self.learned = [copy.deepcopy(net) for _ in networks[:-1]] + [net]
            for learned, weights in zip(self.learned, networks, strict=True):
                learned.load_state_dict(weights)
        return net
