"""What `torch.save` has written, read with every check that `torch.load` leaves out.

`torch.load` with `weights_only` runs no code, yet it passes over the checksums of the archive, inflates what is
compressed, and makes byte arrays of any length that a file asks for.
"""

import io
import pickletools
import warnings
import zipfile
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

HEAD = b"PK\x03\x04"
REBUILDERS = ("torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_tensor_v3", "collections OrderedDict")
# of tensors of other kinds, and of other plain values in the state of a user's own method
REBUILDERS += (
    "torch._utils _rebuild_sparse_tensor",
    "torch._utils _rebuild_qtensor",
    "torch._utils _rebuild_parameter",
)
REBUILDERS += (
    "torch device",
    "torch Size",
    "torch.serialization _get_layout",
    "__builtin__ set",
    "__builtin__ complex",
    "_codecs encode",
)
QUANTISED = ("per_tensor_affine", "per_channel_affine", "sparse_coo", "sparse_csr", "strided")  # words of torch in them


class OtherObjects(ValueError):
    """The file asks for objects other than tensors and plain values."""


def is_archive(raw: bytes) -> bool:
    """Whether a file begins as those do."""
    return raw.startswith(HEAD)


def decode(raw: bytes) -> Any:
    """The tensors and plain values in the content of a file, on the CPU.

    Raises ValueError, zipfile.BadZipFile, or what torch raises, for anything but an undamaged file, and OtherObjects
    for one that holds more than that.
    """
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        members = archive.infolist()
        stored = all(member.compress_type == zipfile.ZIP_STORED for member in members)
        if not stored or sum(member.file_size for member in members) > len(raw):
            raise ValueError("the archive holds more than its length")
        if (damaged := archive.testzip()) is not None:
            raise ValueError(f"the checksum of {damaged} is wrong")
        for member in members:
            if member.filename.endswith("data.pkl"):
                check_objects(archive.read(member))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the versions of pickle
        content = torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
    dense = (tensor for tensor in tensors(content) if tensor.layout is torch.strided)
    if any(tensor.numel() * tensor.itemsize > len(raw) for tensor in dense):
        raise ValueError("a tensor claims more numbers than the file holds")
    return content


def check_objects(pickled: bytes) -> None:
    """Raise OtherObjects for a pickle that names anything but tensors, their kinds of numbers, and plain values."""
    for operation, argument, _ in pickletools.genops(pickled):
        if operation.name in ("STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4"):
            raise OtherObjects(operation.name)
        if operation.name == "GLOBAL" and argument not in REBUILDERS and not is_kind_of_numbers(str(argument)):
            raise OtherObjects(argument)


def is_kind_of_numbers(name: str) -> bool:
    """Whether `module name` in a pickle stands for a type of torch's numbers or for what stores them."""
    module, _, word = name.partition(" ")
    if module == "torch.storage":
        return word in ("TypedStorage", "UntypedStorage")
    is_type = isinstance(getattr(torch, word, None), torch.dtype)
    return module == "torch" and (is_type or word in QUANTISED or (word.endswith("Storage") and word.isalnum()))


def tensors(content: Any) -> Iterator[Tensor]:
    """All tensors in nested dicts, lists and tuples, parts that are there twice looked at once."""
    seen: set[int] = set()
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, dict | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            waiting += value.values() if isinstance(value, dict) else value
