"""What an example is: a picture, a spectrogram, a sequence of tokens, a row of a table.

Each kind of data is a class that answers what is asked of it, so that nobody else asks which kind it is. A new kind is
a class here, a dataset whose pools carry it, and, where its explanations look different, an entry in
explain/attribution/views.py.
"""

import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from mlbench.data.mel_spectrogram import LogMel

SOUND, TEXT = "sound", "text"  # kinds of readers in a checkpoint
PAD = 0  # the id of what stands behind the end of a sequence of tokens


class Modality:
    """What all kinds of examples answer; the defaults are those of dense float inputs.

    Attributes:
        name: What examples are called in messages, in the plural.
        unit: What the parts of an example are called, in the plural: what deletion removes one after the other.
        example_name: What one example is called in names of metrics.
        augmentations: The values of train.augment that make sense.
        continuous: Whether inputs are numbers that can be compared, scaled and followed by gradients.
        exportable: Whether a network for them can be written for other programs.
        model_hint: What to try when a model does not take them; empty where any may.
        evaluation_limit: The most examples at once in an evaluation; None leaves it to their bytes.
        decimals: How many digits behind the point values are told with.
        value_note: What to know of parts and values when they are read, a sentence.
        ordered: Whether neighbouring parts belong together, so that they can be covered or blurred together.
        upwards: Whether the first row is the lowest one where an example is drawn.
    """

    name: ClassVar[str]
    unit: ClassVar[str]
    example_name: ClassVar[str]
    augmentations: ClassVar[tuple[str, ...]] = ("none",)
    continuous: ClassVar[bool] = True
    exportable: ClassVar[bool] = True
    model_hint: ClassVar[str] = ""
    evaluation_limit: ClassVar[int | None] = None
    upwards: ClassVar[bool] = False
    ordered: ClassVar[bool] = True
    decimals: ClassVar[int] = 3
    value_note: ClassVar[str] = ""

    @property
    def fingerprint(self) -> str | None:
        """A short name for what the numbers in an example stand for, where networks depend on it."""
        return None

    @property
    def reader(self) -> dict[str, Any] | None:
        """What example_reader.py needs to read examples from files or texts, plain values; None for pictures."""
        return None

    @property
    def value_range(self) -> tuple[float, float]:
        """The smallest and the largest value of an input before it is normalised: black and white where it is drawn."""
        raise NotImplementedError

    def black(self, normalise: nn.Module) -> Tensor:  # noqa: ARG002
        """What stands for nothing in an input, shaped as explanations take it: [1, C, 1, W]."""
        return torch.zeros(1, 1, 1, 1)

    def to(self, device: torch.device) -> "Modality":  # noqa: ARG002
        """With what computes on `device`."""
        return self

    def example(self, shape: tuple[int, ...], count: int) -> Tensor:
        """`count` inputs of `shape`, as the network takes them, to try it on."""
        return torch.zeros(count, *shape)

    def present(self, inputs: Tensor, lengths: Tensor | None, length: int) -> Tensor:  # noqa: ARG002
        """Which of `length` positions belong to an example and are no padding.

        Args:
            inputs: Raw examples [B, ...].
            lengths: How many positions each has, [B], where the pool says so.
            length: Positions to tell of.

        Returns:
            bool [B, length].
        """
        return torch.ones(len(inputs), length, dtype=torch.bool, device=inputs.device)

    def scaled(self, raw: Tensor, normalise: nn.Module) -> Tensor:
        """Inputs in a size that suits a linear model: as the network takes them."""
        return normalise(raw)

    def images(self, raw: Tensor) -> Tensor:
        """Inputs [B, C, H, W] before normalisation as uint8 pictures, by the range of their values."""
        low, high = self.value_range
        return ((raw - low) * (255 / (high - low))).round().clamp(0, 255).to(torch.uint8)

    def part_names(self, shape: tuple[int, ...]) -> list[str]:
        """A name for each number of an example of `shape`, in order."""
        raise NotImplementedError


@dataclass(frozen=True)
class Pictures(Modality):
    """Pictures, uint8 [N, C, H, W]."""

    name: ClassVar[str] = "pictures"
    unit: ClassVar[str] = "pixels"
    example_name: ClassVar[str] = "image"
    augmentations: ClassVar[tuple[str, ...]] = ("none", "crop_flip", "shift")
    decimals: ClassVar[int] = 1
    value_note: ClassVar[str] = "Rows and columns are counted from 0, pixels are 0 to 255."

    @property
    def value_range(self) -> tuple[float, float]:
        """Black and white."""
        return 0.0, 255.0

    def black(self, normalise: nn.Module) -> Tensor:
        """A black pixel, or silence, [1, C, 1, 1]."""
        return (self.value_range[0] - normalise.get_buffer("mean")) / normalise.get_buffer("std")

    def scaled(self, raw: Tensor, normalise: nn.Module) -> Tensor:  # noqa: ARG002
        """Values of 0 to 1."""
        return raw / 255

    def part_names(self, shape: tuple[int, ...]) -> list[str]:
        """Places of pixels, rows and columns counted from 0."""
        channels, height, width = shape
        few = {1: [""], 3: [", red", ", green", ", blue"]}
        colours = few.get(channels, [f", channel {number}" for number in range(channels)])
        places = [(row, column) for row in range(height) for column in range(width)]
        return [f"row {row}, column {column}{colour}" for colour in colours for row, column in places]


@dataclass(frozen=True)
class Spectrograms(Pictures):
    """Log-mel spectrograms, float [N, 1, bands, frames], silence behind the end."""

    name: ClassVar[str] = "spectrograms"
    augmentations: ClassVar[tuple[str, ...]] = ("none",)
    upwards: ClassVar[bool] = True

    mel: "LogMel"  # how they were made from waves, and how waves are made from them
    loudest: float  # the largest value in the training data
    loudness: float | None = None  # root mean square to which all waves were brought

    @property
    def reader(self) -> dict[str, Any]:
        """The settings of the spectrograms."""
        about = {name: getattr(self.mel, name) for name in ("rate", "window", "hop", "bands")}
        return {"kind": SOUND, "loudness": self.loudness, **about}

    def to(self, device: torch.device) -> "Spectrograms":
        """Waves are made on `device`."""
        return replace(self, mel=self.mel.to(device))

    @property
    def value_range(self) -> tuple[float, float]:
        """Silence and the loudest value."""
        return self.mel.silence, self.loudest

    def present(self, inputs: Tensor, lengths: Tensor | None, length: int) -> Tensor:
        """The frames before the silence behind the end, bool [B, length]."""
        if lengths is None:
            raise ValueError("a pool of spectrograms says how many frames each has")
        return torch.arange(length, device=inputs.device) < lengths[:, None]


@dataclass(frozen=True)
class Tokens(Modality):
    """Texts as sequences of tokens: ids int32 [N, L], PAD behind the last."""

    name: ClassVar[str] = "texts"
    unit: ClassVar[str] = "pieces"
    example_name: ClassVar[str] = "text"
    continuous: ClassVar[bool] = False
    exportable: ClassVar[bool] = False
    model_hint: ClassVar[str] = "they need a model for texts, such as model=bert"
    evaluation_limit: ClassVar[int | None] = 256  # ids say nothing of how large their vectors are

    vocabulary: list[str]  # what each id stands for; "##" begins one that continues a word
    special: list[int]  # ids that stand for no text, PAD among them
    mask: int  # the id that covers a token
    opening: int  # the id that begins a text
    tokenizer: dict[str, Any] | None = field(default=None, repr=False)  # its content and its own ids of special tokens

    @property
    def reader(self) -> dict[str, Any] | None:
        """The tokenizer."""
        return None if self.tokenizer is None else {"kind": TEXT, **self.tokenizer}

    @property
    def fingerprint(self) -> str:
        """A short name of the vocabulary: a network reads texts of one vocabulary only."""
        return hashlib.sha256("\n".join(self.vocabulary).encode()).hexdigest()[:16]

    def example(self, shape: tuple[int, ...], count: int) -> Tensor:
        """Sequences of the last id."""
        return torch.full((count, *shape), len(self.vocabulary) - 1)

    def present(self, inputs: Tensor, lengths: Tensor | None, length: int) -> Tensor:  # noqa: ARG002
        """The tokens before the padding, bool [B, length]."""
        return inputs[:, :length] != PAD


@dataclass(frozen=True)
class Tables(Modality):
    """Rows of a table of numbers, float [N, F]."""

    name: ClassVar[str] = "tables"
    unit: ClassVar[str] = "features"
    example_name: ClassVar[str] = "row"
    model_hint: ClassVar[str] = "rows of a table need a dense network, such as model=mlp or model=linear"
    ordered: ClassVar[bool] = False
    value_note: ClassVar[str] = "Features are as they stand in the table."

    features: tuple[str, ...]  # F names of columns

    def black(self, normalise: nn.Module) -> Tensor:
        """A number 0 in each column, [1, 1, 1, F]."""
        return (-normalise.get_buffer("mean") / normalise.get_buffer("std"))[:, None, None]

    def part_names(self, shape: tuple[int, ...]) -> list[str]:  # noqa: ARG002
        """The names of the columns."""
        return list(self.features)


EVERY = (Pictures, Spectrograms, Tokens, Tables)
PICTURES = Pictures()
