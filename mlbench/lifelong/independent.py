"""Independent models: one for each task."""

import copy
from dataclasses import dataclass
from typing import Any

from torch import nn

from mlbench.data.tasks import Task
from mlbench.lifelong.base import Method


@dataclass
class Independent(Method):
    """A fresh network for each task, told at test time which task it is: no forgetting, T times the storage.

    In the domain scenario, where a task id is not given otherwise, this is what the GEM paper calls independent.
    """

    scenarios = ("task", "domain")

    def start_task(self, net: nn.Module, task: Task) -> nn.Module:  # noqa: ARG002
        """A copy of the network as it was before the first task."""
        if not hasattr(self, "initial"):
            self.initial, self.networks = copy.deepcopy(net), []
        fresh = copy.deepcopy(self.initial)
        self.networks.append(fresh)
        return fresh

    def predictor(self, net: nn.Module, task: int) -> nn.Module:
        """The task's own network; the newest one for tasks not met yet."""
        networks = getattr(self, "networks", [])
        return networks[task] if task < len(networks) else net

    def state(self) -> dict[str, Any]:
        """The weights of all networks."""
        if not hasattr(self, "initial"):
            return {}
        return {"initial": self.initial.state_dict(), "networks": [net.state_dict() for net in self.networks]}

    def load_state(self, state: dict[str, Any], net: nn.Module) -> None:
        """Rebuild the networks from their weights; the last one is `net` itself."""
        if state:
            self.initial = copy.deepcopy(net)
            self.initial.load_state_dict(state["initial"])
            self.networks = []
            for weights in state["networks"][:-1]:
                self.networks.append(copy.deepcopy(net))
                self.networks[-1].load_state_dict(weights)
            self.networks.append(net)
