"""The model node of a config: what builds the network, and what is said of weights that others have trained."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from omegaconf import DictConfig, OmegaConf, open_dict
from torch import nn

from mlbench.core.buildable import locate
from mlbench.core.errors import SettingError, UserError, require
from mlbench.core.instantiate import Blueprint, settings
from mlbench.core.user_path import user_path
from mlbench.models.build import ABOUT_WEIGHTS, FREEZE, architecture, build_model
from mlbench.models.network_record import MadeElsewhere, NetworkRecord, ReadsFolders
from mlbench.runs.foreign_weights import ForeignWeights, given_weights, read_foreign

PRETRAINED = "pretrained"  # the value of `weights` that takes those that come with the model
BACKBONE = "backbone"  # the value of `freeze` that means all layers but the last
PROBE = 499  # outputs of a network that is built to find the last layer by their number


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
        require((self.mean is None) == (self.std is None), "std", self.std, "as many numbers as model.mean has")
        require(self.mean is None or len(self.mean) == len(self.std), "std", self.std, "as many as model.mean has")


class ModelChoice:
    """The model of a run.

    Args:
        node: The composed node.
        name: The choice on the command line.
        dirs: The folders of the user's own modules.
        checkpoint: The setting of this name. For a model that others have trained, what another program has written
            there is as good as `weights`.

    Attributes:
        blueprint: What builds the network, without what is said of its weights.
        freeze: `backbone`, or the paths of layers that are not trained.
        weights: What is said of them; None for a model that is always trained here.
        record: What a network that was trained elsewhere needs to be used.
        place: The file or folder of its weights; None: it has none.
        reads_checkpoint: Whether these are those of `checkpoint`.
        fixed: Whether it is a function as it is, without weights that could be given, trained or drawn.

    Raises:
        UserError: For settings of the wrong kind, and where what is known of the network cannot be had.
    """

    def __init__(self, node: DictConfig, name: str, dirs: tuple[Path, ...], checkpoint: str | None):
        self.name, self.weights, self.record = name, None, NetworkRecord()
        self.place, self.comes_with_model = None, False
        self.reads_checkpoint, self.fixed = False, False
        self.freeze: list[str] | str = []
        self.blueprint = Blueprint(node, "model", dirs)
        if OmegaConf.is_missing(node, "_target_"):
            raise UserError(f"model={name}: give your class or function, as in model._target_=nets.make")
        if not node.get("_target_"):
            return
        self.cls = locate(node._target_, nn.Module, "model", dirs)
        self.freeze = frozen_layers(node)
        self.blueprint = Blueprint(architecture(node), "model", dirs)
        if not set(ABOUT_WEIGHTS) <= set(node):
            return
        self.weights = settings(OmegaConf.masked_copy(node, list(ABOUT_WEIGHTS)), Weights, "model")
        if missing := [key for key in node if OmegaConf.is_missing(node, key)]:
            raise UserError(f"model.{missing[0]} has no value yet; give one, as in model.{missing[0]}=...")
        plain = OmegaConf.to_container(node, resolve=True)
        self.fixed = getattr(self.cls, "fixed", False)
        if checkpoint is not None and (self.fixed or read_foreign(Path(checkpoint)) is not None):
            self.reads_checkpoint = True
            self.weights.weights = plain["weights"] = checkpoint
        if self.fixed and not self.has_weights:
            raise UserError(f"model={name} has no file yet; give one, as in model.weights=network.onnx")
        known = isinstance(self.cls, MadeElsewhere) and self.has_weights
        try:
            self.record = (self.cls.record(plain) if known else self.record).changed(plain)
        except SettingError as error:
            raise UserError(f"model.{error}") from error
        except ValueError as error:
            raise UserError(f"model={name}: {error}") from error
        if self.has_weights:
            self.place = self.weights_path(plain)
        if self.fixed:
            with open_dict(self.blueprint.node):
                self.blueprint.node["file"] = str(self.place.absolute())

    @property
    def architecture(self) -> dict[str, Any]:
        """The node that builds the network, as plain values; of an exported one without its file, which is inside."""
        node = OmegaConf.to_container(self.blueprint.node, resolve=True)
        return {**node, "file": ""} if self.fixed else node

    @property
    def has_weights(self) -> bool:
        """Whether the network comes with weights."""
        return self.weights is not None and self.weights.weights is not None

    def weights_path(self, plain: dict[str, Any]) -> Path:
        """The file or folder of the weights that the node, `plain` values, names."""
        name = plain["weights"]
        own = self.cls.weights_file(plain) if isinstance(self.cls, MadeElsewhere) else None
        if own is None and name == PRETRAINED:
            raise UserError(f"model={self.name} comes without weights; model.weights takes a file, a folder, or null")
        self.comes_with_model = own is not None
        return user_path(name) if own is None else own

    def given(self, path: Path) -> ForeignWeights:
        """The weights in a file or folder that another program has written. Raises UserError where there are none."""
        if path.is_dir() and isinstance(self.cls, ReadsFolders):
            return ForeignWeights(self.cls.read_folder(path), path)
        return given_weights(path)

    def name_outputs(self, shape: tuple[int, ...], classes: list[str] | None) -> None:
        """Say in the record what the outputs stand for, where it does not: by their number, which the weights tell.

        Args:
            shape: Of an example.
            classes: Those of the data; None: no labels.

        Raises:
            UserError: For names in `model.classes` of another number.
        """
        if self.place is None or self.comes_with_model:
            return
        probe = build_model(self.blueprint, shape, PROBE)
        count = self.given(self.place).outputs(probe, PROBE)
        if count is None:
            return  # they do not fit, which `give` will tell
        said = self.weights.classes
        if said is not None and len(said) != count:
            raise UserError(f"model.classes has {len(said)} names, and the network in {self.place} has {count} outputs")
        options = [list(self.record.classes), classes or [], [str(number) for number in range(count)]]
        names = next(option for option in options if len(option) == count)
        self.record = replace(self.record, classes=tuple(names))

    def keeps_outputs(self, classes: list[str] | None) -> bool:
        """Whether the network keeps its own classes, for data that has these (None: no labels).

        Raises UserError where it should, and data has others.
        """
        if not self.has_weights:
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


def frozen_layers(node: DictConfig) -> list[str] | str:
    """The setting `freeze` of a model's node; without one an empty list. Raises UserError for what is neither."""
    value = OmegaConf.to_container(node, resolve=True).get(FREEZE)
    if value is None or value == BACKBONE:
        return value or []
    paths = value if isinstance(value, list) else [value]
    if not all(type(path) in (str, int) for path in paths):  # some layers are called by numbers
        raise UserError(f"model.freeze={value}: allowed is backbone, a list of layers as in [conv1,layer1], or null")
    return [str(path) for path in paths]
