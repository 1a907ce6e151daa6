"""A trained network with its preprocessing in front: from a picture, a sound or a text to names and probabilities."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mlbench.core.errors import UserError
from mlbench.data.example_reader import ExampleReader


class Predictor(nn.Sequential):
    """A network in eval mode with its preprocessing: examples as they are kept to logits [B, outputs].

    Args:
        normalise: What stands in front of the network.
        net: The network.
        reader: Reads examples from files and texts.
        classes: The names of its outputs.
    """

    def __init__(self, normalise: nn.Module, net: nn.Module, reader: ExampleReader, classes: list[str]):
        super().__init__(normalise, net)
        self.reader, self.classes = reader, classes

    def preprocess(self, example: str | Path | np.ndarray | Any) -> Tensor:
        """An example as the network takes it, for `predict` or to call the module with.

        Args:
            example: A picture: a file, an image of Pillow, or uint8 [H, W], [H, W, 1] or [H, W, 3], which is cut to a
                square and scaled. A sound: a wav file, or a wave [n] of -1 to 1. Or a text.

        Returns:
            uint8 [1, C, H, W]; float [1, 1, bands, frames]; or ids [1, L].

        Raises:
            UserError: For what is none of these, and for a network that takes others.
        """
        return self.reader.read(example)

    @torch.no_grad()
    def predict(self, examples: str | Path | np.ndarray | Tensor | Any, top: int = 5) -> list[list[tuple[str, float]]]:
        """The most probable classes.

        Args:
            examples: An example as `preprocess` takes it, or a batch [B, ...] of examples as they are kept.
            top: How many classes.

        Returns:
            For each example (name, probability), the most probable first.

        Raises:
            UserError: For examples of another shape.
        """
        x = examples if isinstance(examples, Tensor) else self.preprocess(examples)
        if tuple(x.shape[1:]) != self.reader.shape:
            wanted, found = ("x".join(map(str, shape)) for shape in (self.reader.shape, x.shape[1:]))
            raise UserError(f"this network takes examples of {wanted}, not of {found}")
        best = self(x).softmax(1).topk(min(top, len(self.classes)))
        return [
            [(self.classes[place], share) for share, place in zip(shares, places, strict=True)]
            for shares, places in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]
