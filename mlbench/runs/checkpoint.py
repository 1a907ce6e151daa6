"""Trained networks on disk: how they are written, and how they become modules again."""

import io
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from mlbench.core.atomic_io import write_whole
from mlbench.core.errors import UserError
from mlbench.core.foreign_files import ALLOWED, is_pickle, is_text, kind_of_archive, kind_of_file, kind_of_folder
from mlbench.core.instantiate import build
from mlbench.core.renamed import published
from mlbench.core.user_path import user_path
from mlbench.data.normalisation import AsIds, Normalise
from mlbench.models.logits import with_logits
from mlbench.models.surgery import restore
from mlbench.runs import layout
from mlbench.runs.codec import container

SCHEMA = 1
REFUSED = "Unsupported global"  # in what torch says of a pickle that asks for more than tensors and plain values

NESTED = ("state_dict", "model_state_dict", "model", "net", "module")  # where others keep the weights


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
            "wrapping": published(getattr(self.net, "wrapping", None)),
            "replaced": getattr(self.net, "replaced", None),
            "weights": dict(self.net.state_dict()),
        }

    def save(self, path: Path) -> None:
        """Write the checkpoint, complete or not at all. Raises RunError on failure."""
        write_tensors(path, self.packed())


def write_tensors(path: Path, content: dict[str, Any]) -> None:
    """`torch.save`, whole or not at all; tensors are copied out of the vectors they are views of."""
    packed = io.BytesIO()  # torch.save would hide why a file could not be written
    torch.save(each_tensor(content, lambda tensor: tensor.detach().to("cpu", copy=True)), packed)
    write_whole(path, lambda stream: stream.write(packed.getbuffer()))


def each_tensor(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return `value` with `change` applied to every tensor in nested dicts and lists."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {key: each_tensor(part, change) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [each_tensor(part, change) for part in value]
    return value


def read_tensors(path: Path) -> dict[str, Any]:
    """Read a checkpoint to the CPU; nothing in it can run code. Raises UserError naming the file."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"checkpoint {path} does not exist") from None
    except OSError as error:
        raise UserError(f"checkpoint {path} cannot be read: {error.strerror}") from error
    if what := kind_of_file(raw) or kind_of_archive(path):
        raise UserError(f"checkpoint {path} is {what}\n{ALLOWED}")
    try:
        if container.is_artefact(raw):
            return container.decode(raw)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the versions of pickle: what cannot be read is said below
            content = torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever the broken bytes lead it to
        if is_pickle(raw) or REFUSED in str(error):
            what = "a whole pickled module or other objects, which could run code when read"
            raise UserError(f"checkpoint {path} is {what}\n{ALLOWED}") from error
        if is_text(raw):
            raise UserError(f"checkpoint {path} is a text file\n{ALLOWED}") from error
        raise UserError(f"checkpoint {path} cannot be read; it is truncated or not a checkpoint") from error
    if not isinstance(content, dict) or ("weights" not in content and "network" not in content):
        raise UserError(f"checkpoint {path} was not written by mlbench{weights_alone(content)}\n{ALLOWED}")
    return content


def weights_alone(content: object) -> str:
    """What a file with tensors is that lacks all else."""
    if isinstance(content, dict) and (inside := next((name for name in NESTED if name in content), None)):
        return f"; it is a checkpoint of another program, with its weights in {inside}"
    tensors = isinstance(content, dict) and content and all(isinstance(value, Tensor) for value in content.values())
    return "; it is a state_dict: weights alone, without what builds the network" if tensors else ""


def read_network(path: Path) -> dict[str, Any]:
    """Read the packed network of a run folder or a checkpoint file. Raises UserError if there is none."""
    path = user_path(path)
    if path.is_dir():
        places = [path / layout.CHECKPOINTS / name for name in (layout.MODEL, layout.LAST)]
        found = next((place for place in places if place.exists()), None)
        if found is None:
            what = kind_of_folder(path)
            raise UserError(f"checkpoint {path} {f'is {what}' if what else 'holds no checkpoints/model.pt'}\n{ALLOWED}")
        path = found
    content = read_tensors(path)
    packed = content.get("network", content)
    if not is_packed(packed):
        raise UserError(f"checkpoint {path} holds no trained network; name a finished run or its model.pt")
    return packed


def is_packed(value: object) -> bool:
    """Return whether `value` has all entries of `Trained.packed` that readers rely on."""
    kinds = {"model": dict, "input_shape": list, "outputs": int, "weights": dict}
    kinds |= dict.fromkeys(("mean", "std"), Tensor | None)
    if not isinstance(value, dict) or not kinds.keys() <= value.keys():
        return False
    if any(not isinstance(value[name], kind) for name, kind in kinds.items()):
        return False
    return "_target_" in value["model"] and all(isinstance(weight, Tensor) for weight in value["weights"].values())


def load(path: str | Path, config_dir: str | Path | None = None) -> nn.Module:
    """Load the trained model of a run, in eval mode and with its preprocessing in front.

    Args:
        path: Folder of a run, or a checkpoint file.
        config_dir: Folder of the user's own modules, if the model is defined there.

    Returns:
        A module from pictures [B, C, H, W] with values 0..255 (uint8 or float), spectrograms [B, 1, bands, frames],
        rows of a table [B, F] or ids of word pieces [B, L] to logits [B, outputs].

    Raises:
        UserError: If the file cannot be read.
    """
    packed = read_network(Path(path))
    folders = (Path(config_dir).resolve(),) if config_dir else ()
    sys.path.extend(str(folder) for folder in folders if str(folder) not in sys.path)
    node = OmegaConf.create(packed["model"])
    arguments = {"input_shape": tuple(packed["input_shape"]), "outputs": packed["outputs"]}
    net = restored(build(node, nn.Module, "model", folders, **arguments), packed, folders)
    return nn.Sequential(normaliser(packed), net).eval()


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
    """
    with_logits(net, packed["outputs"])
    if packed.get("wrapping") is not None:
        net = build(OmegaConf.create(packed["wrapping"]), nn.Module, "wrapping", config_dirs, net=net)
    try:
        restore(net, packed.get("replaced") or {})
    except (AttributeError, ValueError) as error:
        raise RuntimeError(str(error)) from error
    net.load_state_dict(packed["weights"])
    return net
