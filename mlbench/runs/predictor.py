"""A trained network with its preprocessing in front: from a file of a picture to names and probabilities."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mlbench.core.errors import UserError
from mlbench.data.picture_decoder import READ_ERRORS, decode_image, decode_picture

CHANNELS = (1, 3)  # of a picture: grey, or red, green and blue


@dataclass(frozen=True)
class Inputs:
    """What a network takes: the shape of an example, whether it is numbers, and how a photograph is cut."""

    shape: tuple[int, ...]
    numbers: bool
    crop: float

    def check_pictures(self) -> None:
        """Raise UserError where examples are not square pictures."""
        shape = "x".join(str(side) for side in self.shape)
        if not self.numbers or len(self.shape) != 3 or self.shape[0] not in CHANNELS or self.shape[1] != self.shape[2]:
            raise UserError(f"this network takes {'numbers' if self.numbers else 'ids'} of {shape}, no square pictures")


class Predictor(nn.Sequential):
    """A network in eval mode with its preprocessing: examples as they are kept to logits [B, outputs].

    Args:
        normalise: What stands in front of the network.
        net: The network.
        inputs: What it takes.
        classes: The names of its outputs.
    """

    def __init__(self, normalise: nn.Module, net: nn.Module, inputs: Inputs, classes: list[str]):
        super().__init__(normalise, net)
        self.inputs, self.classes = inputs, classes

    def preprocess(self, picture: str | Path | np.ndarray | Any) -> Tensor:
        """A picture as the network takes it: cut to a square, scaled, grey where the network is.

        Args:
            picture: A file, an image of Pillow, or uint8 [H, W], [H, W, 1] or [H, W, 3].

        Returns:
            uint8 [1, C, H, W], for `predict` or to call the module with.

        Raises:
            UserError: For what is no picture, and for a network that takes none.
        """
        from PIL import Image

        self.inputs.check_pictures()
        channels, side, _ = self.inputs.shape
        about = (side, channels == 1, self.inputs.crop)
        if isinstance(picture, str | Path):
            return torch.from_numpy(decode_picture(Path(picture), *about))[None]
        if isinstance(picture, np.ndarray):
            plain = picture.squeeze(-1) if picture.ndim == 3 and picture.shape[-1] == 1 else picture
            if plain.dtype != np.uint8 or plain.ndim not in (2, 3) or (plain.ndim == 3 and plain.shape[-1] != 3):
                shape = "x".join(map(str, picture.shape))
                raise UserError(f"a picture is uint8 of [H, W] or [H, W, 3], not {picture.dtype} of {shape}")
            picture = Image.fromarray(plain)
        if not isinstance(picture, Image.Image):
            raise UserError(f"a picture is a file, an image of Pillow or an array, not {type(picture).__name__}")
        try:
            return torch.from_numpy(decode_image(picture, *about))[None]
        except READ_ERRORS as error:
            raise UserError(f"this is not a picture that can be read ({error})") from error

    @torch.no_grad()
    def predict(self, examples: str | Path | np.ndarray | Tensor | Any, top: int = 5) -> list[list[tuple[str, float]]]:
        """The most probable classes.

        Args:
            examples: A picture, as `preprocess` takes it, or a batch [B, ...] of examples as they are kept.
            top: How many classes.

        Returns:
            For each example (name, probability), the most probable first.

        Raises:
            UserError: For examples of another shape.
        """
        x = examples if isinstance(examples, Tensor) else self.preprocess(examples)
        if tuple(x.shape[1:]) != self.inputs.shape:
            wanted, found = ("x".join(map(str, shape)) for shape in (self.inputs.shape, x.shape[1:]))
            raise UserError(f"this network takes examples of {wanted}, not of {found}")
        best = self(x).softmax(1).topk(min(top, len(self.classes)))
        return [
            [(self.classes[place], share) for share, place in zip(shares, places, strict=True)]
            for shares, places in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]
