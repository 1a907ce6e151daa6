"""The model node of a config: what builds the network, and what is said of weights that others have trained."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from omegaconf import DictConfig, OmegaConf
from torch import nn

from mlbench.core.buildable import locate
from mlbench.core.errors import SettingError, UserError, require
from mlbench.core.instantiate import Blueprint, settings
from mlbench.models.network_record import MadeElsewhere

PRETRAINED = "pretrained"  # the value of `weights` that takes those that come with the model


@dataclass
class Weights:
    """What a config says of a network that was trained elsewhere; beside these a node has what builds the network."""

    weights: str | None
    outputs: Literal["keep", "data"] | None
    size: int | None
    mean: list[float] | None
    std: list[float] | None
    classes: list[str] | None

    def __post_init__(self):
        require(self.size is None or self.size >= 1, "size", self.size, "pixels, 1 or more, or null")
        for name in ("mean", "std"):
            values = getattr(self, name)
            require(values is None or len(values) in (1, 3), name, values, "a number for each channel, or null")
        require(self.std is None or min(self.std) > 0, "std", self.std, "numbers above 0, or null")


class ModelChoice:
    """The model of a run.

    Args:
        node: The composed node.
        name: The choice on the command line.
        dirs: The folders of the user's own modules.

    Attributes:
        blueprint: What builds the network, without what is said of its weights.
        weights: What is said of them; None for a model that is always trained here.
        record: What a network that was trained elsewhere needs to be used.

    Raises:
        UserError: For settings of the wrong kind, and where what is known of the network cannot be had.
    """

    def __init__(self, node: DictConfig, name: str, dirs: tuple[Path, ...]):
        self.name, self.weights, self.record = name, None, None
        self.blueprint = Blueprint(node, "model", dirs)
        if not node.get("_target_"):
            return
        self.cls = locate(node._target_, nn.Module, "model", dirs)
        if not isinstance(self.cls, MadeElsewhere):
            return
        said = OmegaConf.masked_copy(node, [key for key in node if key in Weights.__dataclass_fields__])
        self.weights = settings(said, Weights, "model")
        rest = OmegaConf.masked_copy(node, [key for key in node if key not in Weights.__dataclass_fields__])
        self.blueprint = Blueprint(rest, "model", dirs)
        plain = OmegaConf.to_container(node, resolve=True)
        try:
            self.record = self.cls.record(plain).changed(plain)
        except SettingError as error:
            raise UserError(f"model.{error}") from error

    @property
    def architecture(self) -> dict[str, Any]:
        """The node that builds the network, as plain values."""
        return OmegaConf.to_container(self.blueprint.node, resolve=True)

    @property
    def has_weights(self) -> bool:
        """Whether the network comes with weights."""
        return self.weights is not None and self.weights.weights is not None

    def weights_path(self) -> Path | None:
        """The file or folder of the weights, if there are any."""
        if self.weights is None or self.weights.weights is None:
            return None
        if self.weights.weights == PRETRAINED:
            return self.cls.weights_file(self.architecture)
        return Path(self.weights.weights)

    def keeps_outputs(self, classes: list[str] | None) -> bool:
        """Whether the network keeps its own classes, for data that has these (None: no labels).

        Raises UserError where it should, and data has others.
        """
        if self.weights is None or self.record is None or not self.has_weights:
            return False
        others = [] if classes is None else [name for name in classes if name not in self.record.classes]
        if self.weights.outputs == "keep" and others:
            raise UserError(
                f"model.outputs=keep, and {self.name} has no class {others[0]!r}, which the data has\n"
                "model.outputs=data fits a new last layer to the classes of the data"
            )
        if self.weights.outputs == "data" and classes is None:
            raise UserError("model.outputs=data fits a new last layer to labels, and this data has none")
        return self.weights.outputs != "data" and not others
