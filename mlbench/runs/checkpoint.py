"""Trained networks on disk: how they are written, and how they become modules again."""

import sys
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mlbench.core.atomic_io import write_whole
from mlbench.core.errors import UserError, first_line, need
from mlbench.core.foreign_files import (
    ALLOWED,
    kind_of_folder,
)
from mlbench.core.instantiate import Blueprint, build
from mlbench.core.plain_node import plain_node
from mlbench.core.renamed import current, published
from mlbench.core.user_path import user_path
from mlbench.data.example_reader import PictureReader, reader_of
from mlbench.data.normalisation import AsIds, Normalise
from mlbench.models.build import build_model
from mlbench.models.carried_encoders import encoder_path
from mlbench.models.logits import with_logits
from mlbench.models.network_record import NetworkRecord
from mlbench.models.surgery import restore
from mlbench.runs import layout, tensor_file
from mlbench.runs.checkpoint_file import read_tensors, write_tensors
from mlbench.runs.exported_file import is_exported, read_exported
from mlbench.runs.predictor import Predictor
from mlbench.runs.size_limit import bounded

SCHEMA = 1
TORCHVISION, BERT = "mlbench.models.torchvision.Torchvision", "mlbench.models.bert.Bert"
EXPORTED = "mlbench.models.exported.Exported"
NEEDED = {"model": dict, "input_shape": list, "outputs": int, "weights": dict}  # entry of a packed network -> its kind
NEEDED |= dict.fromkeys(("mean", "std"), Tensor | None)
OPTIONAL = {"classes": list, "scenario": str, "spelling": str, "wrapping": dict, "replaced": dict, "crop": float}
OPTIONAL |= {"reader": dict}


@dataclass
class Trained:
    """A trained network and all that is needed to build and use it again.

    A module that a technique put around the model has an attribute `wrapping`: a config node whose `_target_` takes the
    model as its argument `net`. One whose layers were changed has an attribute `replaced` (models/surgery.py).
    """

    net: nn.Module
    model: dict[str, Any]  # the config node
    input_shape: tuple[int, ...]  # C, H, W, or L of a text
    outputs: int
    classes: list[str]
    scenario: str | None
    normalise: Normalise | AsIds
    spelling: str | None = None  # of texts: which word pieces the ids stand for
    crop: float = 1.0  # of photographs: the share of the shorter side that is kept, around the middle
    reader: dict[str, Any] | None = None  # how sounds and texts are read: `Modality.reader`

    def packed(self) -> dict[str, Any]:
        """Return tensors and plain values only; classes have the names under which they were first published."""
        return {
            "schema": SCHEMA,
            "model": published(self.model),
            "input_shape": list(self.input_shape),
            "outputs": self.outputs,
            "classes": list(self.classes),
            "scenario": self.scenario,
            "mean": getattr(self.normalise, "mean", None),  # texts have none
            "std": getattr(self.normalise, "std", None),
            "spelling": self.spelling,
            **({"crop": self.crop} if self.crop < 1 else {}),
            "wrapping": published(getattr(self.net, "wrapping", None)),
            "replaced": getattr(self.net, "replaced", None),
            "weights": dict(self.net.state_dict()),
        }

    def save(self, path: Path) -> None:
        """Write the checkpoint, complete or not at all, as `path` with the ending of its format.

        It is safetensors wherever nothing is lost by that. It also says how sounds and texts are read, which artefacts,
        whose bytes are counted, do not. Raises RunError on failure.
        """
        packed = {**self.packed(), **({"reader": self.reader} if self.reader else {})}
        encoded, (ours, torchs) = tensor_file.encode(packed), layout.NETWORK_ENDINGS
        if encoded is None:
            write_tensors(path.with_name(path.name + torchs), packed)
        else:
            write_whole(path.with_name(path.name + ours), lambda stream: stream.write(encoded))


def read_network(path: Path) -> dict[str, Any]:
    """Read the packed network of a run folder or a checkpoint file, and `file_bytes`, the length of the file.

    Raises UserError if there is none.
    """
    path = user_path(path)
    if path.is_dir():
        names = [*(layout.MODEL + ending for ending in layout.NETWORK_ENDINGS), layout.LAST]
        places = [path / layout.CHECKPOINTS / name for name in names]
        found = next((place for place in places if place.exists()), None)
        if found is None:
            what = kind_of_folder(path)
            problem = f"is {what}" if what else "holds no checkpoints/model.safetensors"
            raise UserError(f"checkpoint {path} {problem}\n{ALLOWED}")
        path = found
    content = read_tensors(path)
    packed = content.get("network", content)
    if not is_packed(packed):
        raise UserError(f"checkpoint {path} holds no trained network; name a finished run or its model.safetensors")
    return {**packed, "file_bytes": path.stat().st_size}


def is_packed(value: object) -> bool:
    """Return whether `value` has all entries of `Trained.packed` that readers rely on."""
    if not isinstance(value, dict) or not NEEDED.keys() <= value.keys():
        return False
    if any(not isinstance(value[name], kind) for name, kind in NEEDED.items()):
        return False
    if any(not isinstance(value.get(name), kind | None) for name, kind in OPTIONAL.items()):
        return False
    if (value["mean"] is None) != (value["std"] is None):
        return False
    sizes = [*value["input_shape"], value["outputs"]]
    weights = value["weights"].items()
    return (
        isinstance(value["model"].get("_target_"), str)
        and 0 < (value.get("crop") or 1.0) <= 1
        and all(type(size) is int and size > 0 for size in sizes)
        and all(isinstance(name, str) and isinstance(weight, Tensor) for name, weight in weights)
        and all(isinstance(name, str) for name in value.get("classes") or [])
    )


def load(path: str | Path, config_dir: str | Path | None = None) -> Predictor:
    """Load the trained model of a run, in eval mode and with its preprocessing in front.

    Args:
        path: Folder of a run, a checkpoint file, or a network that `export=` has written (.onnx, .pt2).
        config_dir: Folder of the user's own modules, if the model is defined there.

    Returns:
        A module from pictures [B, C, H, W] with values 0..255 (uint8 or float), spectrograms [B, 1, bands, frames],
        rows of a table [B, F] or ids of word pieces [B, L] to logits [B, outputs]. It has the names of its `classes`,
        and `predict` for files of pictures.

    Raises:
        UserError: If the file cannot be read.
    """
    if is_exported(user_path(path)):
        return read_exported(user_path(path))
    packed = read_network(Path(path))
    folders = (Path(config_dir).resolve(),) if config_dir else ()
    sys.path.extend(str(folder) for folder in folders if str(folder) not in sys.path)
    net = rebuilt(packed, f"checkpoint {path}", folders)
    about = (tuple(packed["input_shape"]), packed["mean"] is not None, packed.get("crop") or 1.0)
    reader = reader_of(*about, packed.get("reader"))
    return Predictor(normaliser(packed), net, reader, list(packed.get("classes") or [])).eval()


def rebuilt(packed: dict[str, Any], source: str, config_dirs: tuple[Path, ...]) -> nn.Module:
    """Build the network of a checkpoint, with all that it describes and its weights.

    Args:
        packed: What `read_network` returned.
        source: What messages call the checkpoint.
        config_dirs: Folders of the user's own modules.

    Raises:
        UserError: If what it describes cannot be built, or is not what it has weights for.
    """
    node = plain_node(local(packed["model"], source), f"{source}: its model")
    blueprint = Blueprint(node, "model", config_dirs)
    try:
        with bounded(packed["file_bytes"]):
            net = build_model(blueprint, tuple(packed["input_shape"]), packed["outputs"])
        return restored(net, packed, config_dirs)
    except UserError as error:
        raise UserError(f"{source}: {error}") from error
    except Exception as error:  # a class may raise anything when it is built from what a file says
        reason = first_line(error)
        raise UserError(f"{source} describes a network that cannot be built ({reason})") from error


def local(model: dict[str, Any], source: str) -> dict[str, Any]:
    """The config node of a model without what would be fetched or read: the weights come from the checkpoint.

    Raises UserError for a network whose sizes are known to a hub alone, unless it has been fetched before.
    """
    kind = current(str(model["_target_"]))
    if kind == TORCHVISION:
        return {key: value for key, value in model.items() if key != "weights"}  # files of earlier versions name them
    if kind == EXPORTED:
        return {**model, "file": ""}
    name = model.get("pretrained")
    if kind != BERT or not isinstance(name, str) or "${" in name or encoder_path(name).is_dir():
        return model
    try:
        hub = need("huggingface_hub", "text", "a checkpoint of model=bert")
        return {**model, "pretrained": hub.snapshot_download(name, local_files_only=True)}
    except UserError:
        raise
    except Exception as error:  # the hub's client raises errors of many classes
        raise UserError(
            f"{source} needs the sizes of model.pretrained={name!r}, and nothing is fetched to load a file\n"
            "give a folder of that name, or fetch it first"
        ) from error


def record_of(packed: dict[str, Any]) -> NetworkRecord:
    """What the network of a checkpoint needs to be used. Raises UserError where it takes no square pictures."""
    shape = tuple(packed["input_shape"])
    PictureReader(shape, packed["mean"] is not None, 1.0).check()
    mean, std = (tuple(packed[name].flatten().tolist()) for name in ("mean", "std"))
    classes = tuple(packed.get("classes") or (str(number) for number in range(packed["outputs"])))
    return NetworkRecord(shape[-1], mean, std, classes, packed.get("crop") or 1.0)


def normaliser(packed: dict[str, Any]) -> Normalise | AsIds:
    """Return the preprocessing with which the network of a checkpoint was trained."""
    return AsIds() if packed["mean"] is None else Normalise(packed["mean"], packed["std"])


def restored(net: nn.Module, packed: dict[str, Any], config_dirs: tuple[Path, ...] = ()) -> nn.Module:
    """Restore the network of a checkpoint.

    Args:
        net: What the model node of the checkpoint builds.
        packed: The content of the checkpoint.
        config_dirs: Folders of the user's own modules.

    Returns:
        The network with its wrapping, its replaced layers and its weights; it gives logits, whatever the model gives.

    Raises:
        RuntimeError: If the checkpoint is of another model.
        UserError: If its wrapping cannot be built.
    """
    with_logits(net, packed["outputs"])
    try:
        with bounded(packed["file_bytes"]) if "file_bytes" in packed else nullcontext():
            if packed.get("wrapping") is not None:
                node = plain_node(packed["wrapping"], "wrapping")
                net = build(node, nn.Module, "wrapping", config_dirs, net=net)
            restore(net, packed.get("replaced") or {})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RuntimeError(str(error)) from error
    net.load_state_dict(packed["weights"])
    return net
