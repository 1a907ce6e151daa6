"""Views: examples of every modality as arrays [B, C, H, W] of their parts.

A view converts examples of a modality to such arrays and draws their maps. Maps, controls and metrics are thus computed
by the same code for pictures, spectrograms, texts (a row of pieces) and tables (a row of features).
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from mlbench.explain.attribution.metrics import blurred
from mlbench.explain.base import Attribution
from mlbench.runs.results import Results


@dataclass
class Examples:
    """Examples that are explained in one batch.

    Attributes:
        net: Maps `x` to logits [B, outputs].
        x: The inputs as the network sees them, [B, C, H, W]; 0 stands for an absent part.
        target: The class that is explained, [B].
        predicted: The predicted class, [B].
        labels: The true class of each, [B], where it is known.
        truth: Where the evidence for the label is, bool [B, H, W], where it is known.
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
        """The class that is explained, and prediction and label where they differ from it."""
        parts = [f"explained: {self.classes[self.target[number]]}"]
        if self.predicted[number] != self.target[number]:
            parts.append(f"answered: {self.classes[self.predicted[number]]}")
        if self.labels is not None and self.labels[number] != self.target[number]:
            parts.append(f"label: {self.classes[self.labels[number]]}")
        return ", ".join(parts)


class View:
    """How examples of a modality are explained and shown.

    Attributes:
        controls: Names of the controls in controls.py that suit the modality.
        thorough: Whether metrics that need many maps of one network are computed: infidelity, sensitivity,
            randomisation and memory. They need examples of one shape.
        in_grids: Whether several examples can be laid side by side in one.
        takes_files: Whether `explain.images` may name the user's own files.
        examples: The examples in batches, each with its own network.
    """

    controls: ClassVar[tuple[str, ...]] = ("random", "edges", "input", "wrong_class")
    thorough: ClassVar[bool] = True
    in_grids: ClassVar[bool] = False
    takes_files: ClassVar[bool] = False
    examples: list[Examples]

    def empty(self, x: Tensor) -> Tensor:
        """Where insertion starts, [B, C, H, W] like `x`: the blurred inputs (Petsiuk et al. 2018)."""
        return blurred(x)

    def reduced(self, method: Attribution, maps: Tensor) -> Tensor:  # noqa: ARG002
        """The part of maps [B, C, H, W] that is scored: all of it."""
        return maps

    def random(self, x: Tensor) -> tuple[int, ...]:
        """The shape of a random map."""
        return tuple(x.shape)

    def show(self, results: Results, method: Attribution, name: str, maps: dict[str, list[Tensor]]) -> None:
        """Add figures and arrays.

        Args:
            results: What is written.
            method: The explanation.
            name: Its name.
            maps: Name of the method and of each control -> maps of each of `examples`.
        """
        raise NotImplementedError
