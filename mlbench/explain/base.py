"""What an explanation is: it looks at a trained network and gives maps or findings. The runner stands in runner.py."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from mlbench.core.errors import require
from mlbench.data.modality import Pictures, Spectrograms
from mlbench.data.split import Split
from mlbench.data.stream import Planted, Task
from mlbench.experiment import context
from mlbench.experiment.technique import Technique
from mlbench.runs.results import Findings

Maps = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""Network, pictures [B, C, H, W] and the class [B] to explain -> signed maps [B, C, H, W] (or [B, 1, H, W])."""


class Workbench(context.Workbench, Protocol):
    """What a method works with."""

    task: Task  # all there is of the data
    test: Split
    planted: Planted | None  # where the answer stands, if that is known
    black: Tensor  # [1, C, 1, 1] what a black pixel, or silence, is to the network

    def chosen(self, method: "Attribution") -> Tensor:
        """The numbers [n] of the test examples to explain, drawn by the seed."""

    def evaluate(self, method: "Attribution", net: nn.Module) -> Findings:
        """Maps of `method` for the run's examples, scored beside the controls."""


class Method(Technique):
    """A way to explain; subclasses are dataclasses whose fields are the hyperparameters.

    `about_answers` is False for what looks inside: then a network for texts is taken as its pretraining left it.
    """

    modalities = (Pictures,)

    def check_data(self, task: Task, classes: list[str]) -> None:
        """Raise SettingError or UserError for what does not go with the data, before anything is trained."""

    def check(self, net: nn.Module) -> None:
        """Raise SettingError or UserError for what does not go with the network, before anything is trained."""

    def rehearse(self, net: nn.Module, x: Tensor) -> None:
        """The same for what only shows when pictures [B, C, H, W] go through the network, which is not trained yet."""

    def explain(self, net: nn.Module, bench: Workbench) -> Findings:
        """Look at the trained network, which is as it was before when this is over (`untouched`)."""
        raise NotImplementedError


@dataclass
class Attribution(Method):
    """An explanation of single answers: a map that says how much each pixel speaks for a class.

    Explained is the logit of `target`, a class number, or of the predicted class (null), for `samples` test pictures
    drawn by the seed, or for the pictures in `images`, a folder or a file. `amounts` says whether the values of
    channels add up, as gradients do not. Texts and rows of
    tables are explained as pictures of one row (attribution/token_attribution.py, feature_attribution.py).
    """

    amounts = True
    modalities = (Pictures, Spectrograms)

    samples: int
    images: str | None
    target: int | None

    def __post_init__(self):
        require(self.samples >= 1, "samples", self.samples, "1 or more")
        require(self.target is None or self.target >= 0, "target", self.target, "a class number from 0, or null")

    def check_data(self, task: Task, classes: list[str]) -> None:
        """The class to explain must exist."""
        super().check_data(task, classes)
        require(self.target is None or self.target < len(classes), "target", self.target, below(classes))

    def files(self) -> list[Path]:
        """The user's own pictures."""
        return [Path(self.images).expanduser()] if self.images else []

    def look(self, bench: Workbench) -> None:
        """Learn what is needed of the data, before the first map."""

    def origin(self, x: Tensor) -> Tensor | None:  # noqa: ARG002
        """The pictures [B, C, H, W] from which the maps explain the way to `x`, so that they add up to what the logit
        gains on it (completeness); None for maps that promise no such thing.
        """
        return None

    def maps(self, net: nn.Module, x: Tensor, target: Tensor) -> Tensor:
        """Signed maps [B, C, H, W] or [B, 1, H, W] of pictures [B, C, H, W] for the classes `target` [B]."""
        raise NotImplementedError

    def explain(self, net: nn.Module, bench: Workbench) -> Findings:
        """Maps, scores and figures."""
        self.look(bench)
        return bench.evaluate(self, net)


def below(classes: list[str]) -> str:
    """Which classes there are, for a message."""
    return f"a class from 0 to {len(classes) - 1}, or null"


def logit(net: nn.Module, x: Tensor, target: Tensor) -> Tensor:
    """The output [B] of each picture for its class."""
    return net(x).gather(1, target[:, None]).squeeze(1)


def input_gradient(net: nn.Module, x: Tensor, target: Tensor) -> Tensor:
    """The gradient of each picture's logit with respect to its pixels, [B, C, H, W]."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(logit(net, x, target).sum(), x)
    return gradient


def strength(maps: Tensor) -> Tensor:
    """How much each pixel matters, whatever the sign: [B, C, H, W] to [B, H, W]."""
    return maps.abs().sum(1)


@contextmanager
def untouched(net: nn.Module) -> Iterator[None]:
    """Eval mode inside; outside everything is as before, also after an error: modes, buffers, gradients, hooks."""
    modules, parameters = list(net.modules()), list(net.parameters())
    modes = [module.training for module in modules]
    hooks = [{name: dict(getattr(module, name)) for name in HOOKS} for module in modules]
    wanted = [(parameter.requires_grad, parameter.grad) for parameter in parameters]
    buffers = [(buffer, buffer.clone()) for buffer in net.buffers()]
    net.eval()
    try:
        yield
    finally:
        for module, mode, before in zip(modules, modes, hooks, strict=True):
            module.training = mode
            for name, kept in before.items():
                found = getattr(module, name)
                for key in set(found) - set(kept):
                    del found[key]
        for parameter, (wants, gradient) in zip(parameters, wanted, strict=True):
            parameter.requires_grad_(wants)
            parameter.grad = gradient
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)


HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
