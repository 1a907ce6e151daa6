"""The files of checkpoints: tensors and plain values, written whole and read with every check."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mlbench.core.atomic_io import write_whole
from mlbench.core.errors import UserError
from mlbench.core.foreign_files import ALLOWED, LOOKED_AT, is_pickle, is_text, kind_of_archive, kind_of_file
from mlbench.core.input_files import not_regular, open_regular
from mlbench.runs import tensor_file, torch_file
from mlbench.runs.codec import container

REFUSED = "Unsupported global"  # in what torch says of a pickle that asks for more than tensors and plain values
CONTENTS = {"weights", "network", "features"}  # an entry of each of our files: a network, the state of a run, what a
# frozen backbone gives
MOST_LOOKED_AT = 2**24  # bytes that tell what a file is that is no checkpoint
# where other programs keep the weights in a checkpoint, the first one that is there
NESTED = ("state_dict", "model_state_dict", "model", "net", "module", "weights", "ema", "model_ema", "state_dict_ema")


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
    raw = read_raw(path)
    if not tensor_file.is_ours(raw) and (what := kind_of_file(raw) or kind_of_archive(raw)):
        raise UserError(f"checkpoint {path} is {what}\n{ALLOWED}")
    try:
        content = decoded(raw)
    except Exception as error:  # torch.load raises whatever the broken bytes lead it to
        if isinstance(error, torch_file.OtherObjects) or REFUSED in str(error):
            what = "a whole pickled module or other objects, which could run code when read"
            raise UserError(f"checkpoint {path} is {what}\n{ALLOWED}") from error
        if is_text(raw):
            raise UserError(f"checkpoint {path} is a text file\n{ALLOWED}") from error
        raise UserError(f"checkpoint {path} cannot be read; it is truncated or not a checkpoint") from error
    if not isinstance(content, dict) or not CONTENTS & content.keys():
        raise UserError(f"checkpoint {path} was not written by mlbench{weights_alone(content)}\n{ALLOWED}")
    return content


def read_raw(path: Path) -> bytes:
    """The content of a checkpoint, of any other file the beginning. Raises UserError naming the file."""
    try:
        if what := not_regular(path):
            raise UserError(f"checkpoint {path} is {what}\n{ALLOWED}")
        with open_regular(path) as stream:
            head = stream.read(LOOKED_AT)
            ours = torch_file.is_archive(head) or container.is_artefact(head) or tensor_file.is_ours(head)
            return head + stream.read(-1 if ours else MOST_LOOKED_AT)
    except FileNotFoundError:
        raise UserError(f"checkpoint {path} does not exist") from None
    except OSError as error:
        raise UserError(f"checkpoint {path} cannot be read: {error.strerror}") from error


def decoded(raw: bytes) -> Any:
    """The content of a file of one of the three kinds that mlbench writes. Raises an exception of any class."""
    if tensor_file.is_ours(raw):
        return tensor_file.decode(raw)
    if container.is_artefact(raw):
        return container.decode(raw)
    if is_pickle(raw):
        raise torch_file.OtherObjects("a pickle outside of an archive")
    return torch_file.decode(raw)


def weights_alone(content: object) -> str:
    """What a file with tensors is that lacks all else."""
    if isinstance(content, dict) and (inside := next((name for name in NESTED if name in content), None)):
        return f"; it is a checkpoint of another program, with its weights in {inside}"
    tensors = isinstance(content, dict) and content and all(isinstance(value, Tensor) for value in content.values())
    return "; it is a state_dict: weights alone, without what builds the network" if tensors else ""


def read_state(path: Path) -> dict[str, Any]:
    """The state from which an interrupted run continues. Raises UserError where the file holds none."""
    state = read_tensors(path)
    kinds = {"metrics_bytes": int, "wall_seconds": float | int, "device": str, "network": dict}
    if any(not isinstance(state.get(name), kind) for name, kind in kinds.items()) or state["metrics_bytes"] < 0:
        raise UserError(f"{path} does not hold the state of a run; remove it to begin anew")
    return state


def read_weights(net: nn.Module, path: Path) -> None:
    """Give a network the weights of a checkpoint of its own structure. Raises UserError for any other."""
    try:
        net.load_state_dict(read_tensors(path)["weights"])
    except (AttributeError, KeyError, RuntimeError, TypeError) as error:
        raise UserError(f"{path} does not hold the weights of this network; remove it to train it again") from error
