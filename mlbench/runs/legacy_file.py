"""What `torch.save` wrote before torch 1.6: pickles one behind the other, then the numbers of each storage.

Many published weights are such files. Only tensors and plain values are read, by an unpickler that knows nothing else,
and numbers are copied out of the file, so that it cannot claim more of them than it holds.
"""

import io
import pickle
import pickletools
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mlbench.runs.torch_file import OtherObjects

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
STORAGES = {  # names of classes in the files
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
COUNT = 8  # bytes in front of the numbers of a storage that say how many there are


@dataclass
class Storage:
    """Numbers that tensors are views of; they come behind all pickles."""

    dtype: torch.dtype
    count: int
    numbers: Tensor | None = None


@dataclass
class View:
    """A tensor whose storage has not been read yet."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def tensor(self) -> Tensor:
        """The tensor. Raises ValueError where the storage is too small for it."""
        numbers = self.storage.numbers
        last = self.offset + sum((size - 1) * step for size, step in zip(self.shape, self.stride, strict=True))
        empty = 0 in self.shape
        plain = all(type(n) is int and n >= 0 for n in (self.offset, *self.shape, *self.stride))
        if numbers is None or not plain or (not empty and last >= len(numbers)):
            raise ValueError("a tensor claims more numbers than the file holds")
        return numbers.as_strided(self.shape, self.stride, self.offset).clone()


class Unpickler(pickle.Unpickler):
    """Reads tensors as `View`s, and plain values; everything else raises OtherObjects."""

    storages: dict[str, Storage]

    def find_class(self, module: str, name: str) -> Any:
        """The few things that files of weights name."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) in (("torch._utils", "_rebuild_tensor_v2"), ("torch._utils", "_rebuild_tensor")):
            return lambda storage, offset, shape, stride, *_: View(storage, offset, shape, stride)
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda view, *_: view
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        raise OtherObjects(f"{module}.{name}")

    def persistent_load(self, about: Any) -> Storage:
        """The storage of a tensor: kind, key, device, how many numbers, and perhaps a part of it, as a view."""
        kind, dtype, key, _, count, *view = about
        if kind != "storage" or not isinstance(dtype, torch.dtype) or any(view):
            raise OtherObjects(str(kind))
        return self.storages.setdefault(str(key), Storage(dtype, int(count)))


def decode(raw: bytes) -> Any:
    """The tensors and plain values in the content of a file, on the CPU.

    Raises ValueError, or what pickle raises, for a damaged file, and OtherObjects for one that holds more than that.
    """
    stream = io.BytesIO(raw)
    storages: dict[str, Storage] = {}

    def part() -> Any:
        check_sizes(stream, len(raw))
        unpickler = Unpickler(stream)
        unpickler.storages = storages
        return unpickler.load()

    if part() != MAGIC or part() != PROTOCOL:
        raise OtherObjects("a pickle that is none of torch.save")
    part()  # of the machine that wrote it
    content = part()
    for key in part():
        storage = storages[key]
        count = int.from_bytes(stream.read(COUNT), "little")
        size = count * storage.dtype.itemsize
        if count != storage.count or size > len(raw) - stream.tell():
            raise ValueError("a storage claims more numbers than the file holds")
        numbers = bytearray(stream.read(size))
        storage.numbers = (
            torch.frombuffer(numbers, dtype=storage.dtype) if size else torch.empty(0, dtype=storage.dtype)
        )
    return with_tensors(content)


def check_sizes(stream: io.BytesIO, most: int) -> None:
    """Raise ValueError for a pickle that asks for more than its file could need; the stream stays where it is."""
    began = stream.tell()
    for operation, argument, _ in pickletools.genops(stream):  # which compares the lengths of texts with what is there
        if operation.name == "BYTEARRAY8" or (operation.name.endswith("PUT") and int(argument or 0) > most):
            raise ValueError(f"{operation.name} {argument}")
    stream.seek(began)


def with_tensors(value: Any) -> Any:
    """The same with each `View` made a tensor, in nested dicts, lists and tuples."""
    if isinstance(value, View):
        return value.tensor()
    if isinstance(value, dict):
        return {key: with_tensors(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(with_tensors(part) for part in value)
    return value
