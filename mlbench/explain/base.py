"""Base classes of explanations of a trained network; the runner that executes them is in runner.py."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from mlbench.core.errors import require
from mlbench.core.user_path import user_path
from mlbench.data.modality import Pictures, Spectrograms
from mlbench.data.split import Split
from mlbench.data.stream import Planted, Task
from mlbench.experiment.context import Context as RunContext
from mlbench.experiment.technique import Technique
from mlbench.runs.results import Results

LARGE = 64  # pixels a side; what is computed of larger pictures is in proportion to them

Maps = Callable[[nn.Module, Tensor, Tensor], Tensor]
"""Network, inputs [B, C, H, W] and classes to explain [B] -> signed maps [B, C, H, W] or [B, 1, H, W]."""


class Context(RunContext, Protocol):
    """What the runner offers to a method of explanation."""

    task: Task  # all there is of the data
    test: Split
    planted: Planted | None  # the location of the evidence for each label, where it is known
    black: Tensor  # [1, C, 1, 1] what a black pixel, or silence, is to the network

    def chosen(self, method: "Attribution") -> Tensor:
        """Indices [n] of the test examples to explain, drawn by the seed."""

    def evaluate(self, method: "Attribution", net: nn.Module) -> Results:
        """Maps of `method` for the run's examples, with the same scores for the controls."""


class Method(Technique):
    """Base class of explanations; subclasses are dataclasses whose fields are the hyperparameters.

    `needs_classes` is False for methods that analyse representations: a network for texts is then used as pretrained,
    without fine-tuning.
    """

    learns_on_features = False
    modalities = (Pictures,)

    def check_data(self, task: Task, classes: list[str]) -> None:
        """Raise SettingError or UserError if the settings do not fit the data, before anything is trained."""

    def check(self, net: nn.Module) -> None:
        """Raise SettingError or UserError if the settings do not fit the network, before anything is trained."""

    def rehearse(self, net: nn.Module, x: Tensor) -> None:
        """The same for problems that only a forward pass of inputs [B, C, H, W] through the untrained network shows."""

    def explain(self, net: nn.Module, context: Context) -> Results:
        """Explain the trained network.

        Args:
            net: The network in eval mode; the runner restores it afterwards (`untouched`).
            context: Data, settings and random numbers of the run.

        Returns:
            Metrics, tables and figures for the runner to write.
        """
        raise NotImplementedError


@dataclass
class Attribution(Method):
    """An explanation of single predictions by a map of how much each part of the input contributes to a class.

    The logit of one class is explained. Texts and rows of tables are explained as pictures with a single row of pixels
    (attribution/token_attribution.py, feature_attribution.py). `amounts` says whether the values of the channels may be
    added up: contributions may, gradients may not.

    Args:
        samples: Number of test examples, drawn by the seed.
        images: An image file, or a folder of them, to explain instead of test examples.
        target: Number of the class to explain; None for the predicted class of each example.
        scores: What is measured of the maps: nothing, the randomisation in three steps, or everything. None measures
            everything for examples with labels, and is quick without.
    """

    amounts = True
    needs_labels = False
    modalities = (Pictures, Spectrograms)

    samples: int
    images: str | None
    target: int | None
    scores: Literal["none", "quick", "full"] | None = field(default=None, kw_only=True)

    def __post_init__(self):
        require(self.samples >= 1, "samples", self.samples, "1 or more")
        require(self.target is None or self.target >= 0, "target", self.target, "a class number from 0, or null")

    def check_data(self, task: Task, classes: list[str]) -> None:
        """The class to explain must exist."""
        super().check_data(task, classes)
        require(self.target is None or self.target < len(classes), "target", self.target, below(classes))

    def files(self) -> list[Path]:
        """The user's own pictures."""
        return [user_path(self.images)] if self.images else []

    def look(self, context: Context) -> None:
        """Prepare for maps: read from the run what `maps` needs besides its arguments."""

    def origin(self, x: Tensor) -> Tensor | None:  # noqa: ARG002
        """The baseline of maps that satisfy completeness.

        Args:
            x: Inputs [B, C, H, W].

        Returns:
            Inputs [B, C, H, W] such that each map adds up to logit(x) - logit(baseline); None where no such sum is
            promised.
        """
        return None

    def maps(self, net: nn.Module, x: Tensor, target: Tensor) -> Tensor:
        """Compute maps.

        Args:
            net: Maps inputs to logits [B, outputs].
            x: Normalised inputs [B, C, H, W].
            target: The class to explain of each, int64 [B].

        Returns:
            Signed maps [B, C, H, W], or [B, 1, H, W] where channels are not told apart.
        """
        raise NotImplementedError

    def class_maps(self, net: nn.Module, x: Tensor, targets: Tensor) -> Tensor:
        """Maps of several classes of each input, [B, K, C, H, W] or [B, K, 1, H, W], for classes int64 [B, K]."""
        return torch.stack([self.maps(net, x, target) for target in targets.unbind(1)], 1)

    def explain(self, net: nn.Module, context: Context) -> Results:
        """Maps, scores and figures."""
        self.look(context)
        return context.evaluate(self, net)


def below(classes: list[str]) -> str:
    """The allowed values of `target`, for a message."""
    return f"a class from 0 to {len(classes) - 1}, or null"


def logit(net: nn.Module, x: Tensor, target: Tensor) -> Tensor:
    """The logit [B] of each input's class."""
    return net(x).gather(1, target[:, None]).squeeze(1)


def input_gradient(net: nn.Module, x: Tensor, target: Tensor) -> Tensor:
    """The gradient of each input's logit with respect to the input, [B, C, H, W]."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(logit(net, x, target).sum(), x)
    return gradient


def is_large(shape: Sequence[int]) -> bool:
    """Whether pictures of a shape [..., H, W] have more than LARGE pixels a side."""
    return min(shape[-2:]) > LARGE


def at_once(most: int, x: Tensor) -> int:
    """How many inputs like x [B, C, H, W] to follow gradients through at once: `most`, fewer of large pictures."""
    return max(1, most * LARGE**2 // max(LARGE**2, x.shape[2] * x.shape[3]))


def forward_at_once(most: int, x: Tensor) -> int:
    """The same for inputs that no gradient is followed through, which need less memory."""
    return min(most, at_once(4 * most, x))


def strength(maps: Tensor) -> Tensor:
    """Sum of the absolute values over the channels: [B, C, H, W] to [B, H, W]."""
    return maps.abs().sum(1)


@contextmanager
def untouched(net: nn.Module) -> Iterator[None]:
    """Switch to eval mode, and restore modes, buffers, gradients and hooks on exit, also after an error."""
    modules, parameters = list(net.modules()), list(net.parameters())
    modes = [module.training for module in modules]
    hooks = [{name: dict(getattr(module, name)) for name in HOOKS} for module in modules]
    gradients = [(parameter.requires_grad, parameter.grad) for parameter in parameters]
    buffers = [(buffer, buffer.clone()) for buffer in net.buffers()]
    net.eval()
    try:
        yield
    finally:
        for module, mode, before in zip(modules, modes, hooks, strict=True):
            module.training = mode
            for name, earlier in before.items():
                current = getattr(module, name)
                for key in set(current) - set(earlier):
                    del current[key]
        for parameter, (wants, gradient) in zip(parameters, gradients, strict=True):
            parameter.requires_grad_(wants)
            parameter.grad = gradient
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)


HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
