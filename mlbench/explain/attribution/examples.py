"""What a map explains, whatever it is of: examples as one-channel or many-channel pictures [B, C, H, W] of their parts.

A view turns examples of a modality into such pictures and shows what maps say of them. So one code computes maps,
controls and scores for pictures, spectrograms, texts (a row of pieces) and tables (a row of features).
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from mlbench.explain.attribution.metrics import blurred
from mlbench.explain.base import Attribution
from mlbench.runs.results import Findings


@dataclass
class Examples:
    """Examples that go through a network together.

    Attributes:
        net: What takes `x` and gives logits [B, outputs].
        x: The inputs as the network sees them, [B, C, H, W]; 0 is what stands for an absent part.
        target: The class explained of each, [B].
        predicted: The class that the network says, [B].
        labels: The true class of each, [B], where it is known.
        truth: Where the answer stands, bool [B, H, W], where that is known.
        classes: The names of the classes.
    """

    net: nn.Module
    x: Tensor
    target: Tensor
    predicted: Tensor
    labels: Tensor | None
    truth: Tensor | None
    classes: list[str]

    def __len__(self) -> int:
        return len(self.x)

    def title(self, number: int) -> str:
        """What is explained of an example, and where that differs from the answer and the label."""
        parts = [f"explained: {self.classes[self.target[number]]}"]
        if self.predicted[number] != self.target[number]:
            parts.append(f"answered: {self.classes[self.predicted[number]]}")
        if self.labels is not None and self.labels[number] != self.target[number]:
            parts.append(f"label: {self.classes[self.labels[number]]}")
        return ", ".join(parts)


class View:
    """How examples of a modality are explained and shown.

    Attributes:
        controls: The controls that make sense, by their names in controls.py.
        thorough: Whether scores that need many maps of one network are measured: infidelity, sensitivity, layers drawn
            anew, memory. They need examples of one shape.
        takes_files: Whether `explain.images` may name the user's own files.
        examples: The examples, those together that go through one network.
    """

    controls: ClassVar[tuple[str, ...]] = ("random", "edges", "input", "wrong_class")
    thorough: ClassVar[bool] = True
    takes_files: ClassVar[bool] = False
    examples: list[Examples]

    def empty(self, x: Tensor) -> Tensor:
        """What insertion starts from, of the shape of `x` [B, C, H, W]: the blurred pictures (Petsiuk et al. 2018)."""
        return blurred(x)

    def reduced(self, method: Attribution, maps: Tensor) -> Tensor:  # noqa: ARG002
        """What of maps [B, C, H, W] is scored: all of it."""
        return maps

    def random(self, x: Tensor) -> tuple[int, ...]:
        """The shape of a map of noise."""
        return tuple(x.shape)

    def show(self, results: Findings, method: Attribution, name: str, maps: dict[str, list[Tensor]]) -> None:
        """Add figures and arrays.

        Args:
            results: What is written.
            method: The explanation.
            name: Its name.
            maps: Name of the method and of each control -> maps of each of `examples`.
        """
        raise NotImplementedError
