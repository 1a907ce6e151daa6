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
    """A new network for each task, chosen at test time by the number of the task: no forgetting, T times the storage.

    The baseline "independent" of Lopez-Paz & Ranzato 2017; there the networks are smaller, so that all together have
    the size of one.
    """

    frozen_networks = ("initial",)

    def start_task(self, net: nn.Module, task: Task) -> nn.Module:
        """A copy of the network as it was before the first task."""
        if not self.numbers:
            self.initial, self.learned_networks = frozen_copy(net), []
        super().start_task(net, task)
        new = copy.deepcopy(self.initial)
        for parameter, own in zip(new.parameters(), net.parameters(), strict=True):
            parameter.requires_grad_(own.requires_grad)  # frozen layers stay frozen
        self.learned_networks.append(new)
        return new

    def predictor(self, net: nn.Module, task: int) -> nn.Module:
        """The network that learned the task."""
        return self.learned_networks[self.part(task)] if self.numbers else net

    def networks(self, net: nn.Module) -> list[nn.Module]:  # noqa: ARG002
        """One for each task."""
        return self.learned_networks

    def state(self) -> dict[str, Any]:
        """The state of any method and the weights of all networks."""
        weights = {"networks": [net.state_dict() for net in self.learned_networks]} if self.numbers else {}
        return {**super().state(), **weights}

    def load_state(self, state: dict[str, Any], net: nn.Module) -> nn.Module:
        """Rebuild the networks, the last of which is `net` itself."""
        networks = state.pop("networks", None)
        super().load_state(state, net)
        if networks:
            self.learned_networks = [copy.deepcopy(net) for _ in networks[:-1]] + [net]
            for network, weights in zip(self.learned_networks, networks, strict=True):
                network.load_state_dict(weights)
        return net
