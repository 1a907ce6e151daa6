"""Weights that another program has trained: read from its files, and given to a network whatever they are called there.

Nothing in such a file is run. It has no checksum that could be verified, beside that of an archive by torch.save.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from mlbench.core.errors import UserError
from mlbench.core.foreign_files import LOOKED_AT, is_pickle, is_safetensors, kind_of_archive
from mlbench.core.input_files import not_regular, open_regular, read_json
from mlbench.core.user_path import user_path
from mlbench.models.surgery import last_linear, path_of
from mlbench.models.torchvision import networks
from mlbench.runs import legacy_file, tensor_file, torch_file
from mlbench.runs.checkpoint_file import NESTED
from mlbench.runs.codec import container

FEWEST = 16  # tensors of a classification network of torchvision
HEAD = 2  # tensors of a last layer: weights and biases
OURS = {"model", "input_shape", "outputs", "weights"}  # entries of a packed network
INDEX, SINGLE = "model.safetensors.index.json", ("model.safetensors", "pytorch_model.bin")  # of Hugging Face
OPTIONAL = "num_batches_tracked"  # a counter of batch norm that files of old versions lack
TORCHSCRIPT = "is a program of TorchScript, which runs code when read; in a program that you trust:\n"


@dataclass
class ForeignWeights:
    """Tensors by the names that another program gave them, and the file they are from."""

    tensors: dict[str, Tensor]
    path: Path

    def fit(self, net: nn.Module) -> "Fit":
        """Which tensors of the file are those of a network.

        What stands in front of all names (`module.`, `model.`, `_orig_mod.`, ...) is found by itself, on both sides.
        """
        wanted = {name: tensor.shape for name, tensor in net.state_dict().items()}
        fits = [
            Fit(self.tensors, wanted, own, theirs)
            for own in prefixes_of(list(wanted))
            for theirs in self.prefixes(wanted, own)
        ]
        return max(fits, key=lambda fit: len(fit.names))

    def prefixes(self, wanted: dict[str, torch.Size], own: str) -> list[str]:
        """What may stand in front of the names in the file, by the ends of some of them."""
        ends = [name.removeprefix(own) for name in list(wanted)[:: max(1, len(wanted) // 8)]]
        found = {key.removesuffix(end) for end in ends for key in self.tensors if key.endswith(end)}
        return ["", *sorted(prefix for prefix in found if prefix.endswith((".", "_")))]

    def outputs(self, net: nn.Module, count: int) -> int | None:
        """How many outputs the network in the file has, where `net`, built for `count` of them, has its last layer.

        None where the file has no such layer.
        """
        last = [name for name, tensor in net.state_dict().items() if tensor.ndim and len(tensor) == count]
        there = self.tensors.get(self.fit(net).there[last[-1]]) if last else None
        return len(there) if there is not None and there.ndim else None

    def nearest(self) -> str:
        """Half a line for a network of torchvision that these weights fit, but for its last layer; or nothing."""
        if len(self.tensors) < FEWEST or find_spec("torchvision") is None:
            return ""
        names = (name for name, net in networks() if len(self.fit(net).missing) <= HEAD)
        return next((f"\nit fits model=torchvision model.name={name}" for name in names), "")

    def give(self, net: nn.Module, name: str, new_head: bool = False) -> None:
        """Load all weights of `net`, the model that messages call `name`, with `new_head` but those of its last layer.

        Raises UserError where some do not fit.
        """
        fit = self.fit(net)
        if new_head:
            fit.leave_out(path_of(net, head_of(net)))
        if fit.missing:
            raise UserError(f"{self.path} does not fit {name}: {fit.told()}{self.nearest()}")
        net.load_state_dict({key: self.tensors[there] for key, there in fit.names.items()}, strict=False)


class Fit:
    """How the tensors of a file fit a network, with `theirs` in front of the names there in the place of `own`.

    Attributes:
        names: Name in the network -> name in the file, of the tensors that have the same shape.
        missing: Names in the network of all others.
    """

    def __init__(self, tensors: dict[str, Tensor], wanted: dict[str, torch.Size], own: str, theirs: str):
        self.tensors, self.wanted = tensors, wanted
        there = {name: theirs + name.removeprefix(own) for name in wanted}
        self.names = {k: other for k, other in there.items() if other in tensors and tensors[other].shape == wanted[k]}
        self.missing = [name for name in wanted if name not in self.names and not name.endswith(OPTIONAL)]
        self.there = there

    def leave_out(self, path: str) -> None:
        """Leave the tensors of a layer as they are in the network."""
        own = f"{path}."
        self.names = {name: there for name, there in self.names.items() if not name.startswith(own)}
        self.missing = [name for name in self.missing if not name.startswith(own)]

    def told(self) -> str:
        """How many fit, the first one that does not, and what there is in its place."""
        first = self.missing[0]
        count = f"{len(self.names)} of its {len(self.wanted)} tensors do"
        needed = f"the first that does not is {first} {list(self.wanted[first])}"
        if (other := self.there[first]) in self.tensors:
            return f"{count}\n{needed}, in the file {list(self.tensors[other].shape)}"
        used = set(self.names.values())
        rest = next((key for key in self.tensors if key not in used), None)
        left = f"; the first that is left over is {rest} {list(self.tensors[rest].shape)}" if rest else ""
        return f"{count}\n{needed}, not in the file{left}"


def head_of(net: nn.Module) -> nn.Linear:
    """The last linear layer. Raises UserError where there is none."""
    if (layer := last_linear(net)) is None:
        raise UserError("the network has no linear layer that could be fitted to the classes of the data")
    return layer


def prefixes_of(names: list[str]) -> list[str]:
    """The empty one, and what all names have in front, up to each point."""
    found, parts = [""], names[0].split(".")[:-1] if names else []
    for count in range(1, len(parts) + 1):
        prefix = ".".join(parts[:count]) + "."
        if all(name.startswith(prefix) for name in names):
            found.append(prefix)
    return found


def given_weights(path: Path) -> ForeignWeights:
    """The weights that `model.weights` names. Raises UserError where there are none."""
    found = read_foreign(path)
    if found is None:
        what = "holds no weights" if user_path(path).exists() else "does not exist"
        raise UserError(f"model.weights={path} {what}; allowed are files and folders of weights, pretrained, or null")
    return found


def read_foreign(path: Path) -> ForeignWeights | None:
    """The weights in a file or a folder that another program has written; None for what mlbench has written, and for
    what holds no weights. Raises UserError for a file with weights that cannot be read without running something."""
    path = user_path(path)
    tensors = read_folder(path) if path.is_dir() else read_file(path)
    return ForeignWeights(tensors, path) if tensors else None


def read_folder(folder: Path) -> dict[str, Tensor] | None:
    """The weights of a folder of Hugging Face, in one file or in several."""
    if (folder / INDEX).is_file():
        found = read_json(folder / INDEX).get("weight_map")
        files = sorted(set(found.values())) if isinstance(found, dict) else []
        if not files or any(not isinstance(name, str) or Path(name).name != name for name in files):
            raise UserError(f"{folder / INDEX} does not name files beside it")
        parts = [read_file(folder / name) or {} for name in files]
        return {name: tensor for part in parts for name, tensor in part.items()}
    return next((read_file(folder / name) for name in SINGLE if (folder / name).is_file()), None)


def read_file(path: Path) -> dict[str, Tensor] | None:
    """The weights of one file."""
    if not path.exists() or not_regular(path):
        return None
    with open_regular(path) as stream:
        head = stream.read(LOOKED_AT)
        if tensor_file.is_ours(head) or container.is_artefact(head):
            return None
        archive = torch_file.is_archive(head)
        pickled = is_pickle(head)
        if not archive and not pickled and head[8:9] != b"{":
            return None
        raw = head + stream.read(-1)
    try:
        if archive or pickled:
            return from_torch(path, raw)
        return safetensors.torch.load(raw) if is_safetensors(raw) else None
    except (UserError, MemoryError):
        raise
    except Exception as error:  # of damaged files; torch raises whatever the broken bytes lead it to
        raise UserError(f"{path} cannot be read; it is truncated or damaged") from error


def from_torch(path: Path, raw: bytes) -> dict[str, Tensor] | None:
    """The weights in what torch.save wrote. Raises UserError for TorchScript, and for other objects than tensors."""
    archive = torch_file.is_archive(raw)
    if archive and (kind := kind_of_archive(raw)):
        if "TorchScript" in kind:
            raise UserError(f"{path} {TORCHSCRIPT}torch.save(torch.jit.load(FILE).state_dict(), NEW)")
        return None
    try:
        content = torch_file.decode(raw) if archive else legacy_file.decode(raw)
    except torch_file.OtherObjects as error:
        raise UserError(
            f"{path} holds {error}, which could run code when read; in a program that you trust:\n"
            "torch.save(torch.load(FILE, weights_only=False).state_dict(), NEW), or of its entry with the weights alone"
        ) from error
    return weights_inside(content)


def weights_inside(content: Any) -> dict[str, Tensor] | None:
    """The tensors of a state_dict, or of one inside a checkpoint; None for a network that mlbench has packed."""
    if not isinstance(content, dict) or content.keys() >= OURS or "network" in content:
        return None
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    for name in NESTED:
        if isinstance(content.get(name), dict) and (inside := weights_inside(content[name])):
            return inside
    return tensors or None
