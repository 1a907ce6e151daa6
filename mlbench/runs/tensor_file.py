"""Checkpoints in the format safetensors: tensors by their names, and all else as JSON in the header.

Reading such a file cannot run code. Weights have the names of the state_dict, so that other programs find them. The
format has no checksum; one is kept beside the JSON.
"""

import json
import zlib
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from mlbench.core.input_files import check_plain

HEAD = b'{"__metadata__":{"mlbench":'  # behind the length of the header
MOST_HEADER = 2**24  # bytes: some hundred for each tensor
KEY, TENSOR = "mlbench", "$tensor"  # of the metadata, and of what stands in the place of a tensor
WEIGHTS = "weights"
DTYPES = {torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.bool, torch.uint8}
DTYPES |= {torch.int64, torch.int32, torch.int16, torch.int8}


def encode(content: dict[str, Any]) -> bytes | None:
    """The file for nested dicts and lists of tensors and plain values.

    Returns:
        The bytes; None where something would be lost (keys that are no texts, NaN, sparse tensors) or not read again.
    """
    tensors: dict[str, Tensor] = {}
    try:
        described = without_tensors(content, (), tensors)
        text = json.dumps(described, allow_nan=False, ensure_ascii=False)
        check_plain(described)
    except (TypeError, ValueError):
        return None
    if json.loads(text) != described:
        return None
    note = json.dumps({"content": text, "crc32": checksum(text, tensors)}, ensure_ascii=False)
    raw = safetensors.torch.save(tensors, {KEY: note})
    return raw if header_bytes(raw) <= MOST_HEADER else None


def without_tensors(value: Any, path: tuple[str, ...], tensors: dict[str, Tensor]) -> Any:
    """The same, with each tensor put into `tensors` and its name in its place. Raises ValueError for a name
    that is there twice, and for a tensor that the format does not know."""
    if isinstance(value, Tensor):
        name = path[1] if len(path) == 2 and path[0] == WEIGHTS else "/".join((KEY, *path))
        if name in tensors or name == "__metadata__":
            raise ValueError(name)
        if value.layout is not torch.strided or value.dtype not in DTYPES:  # sparse, quantised
            raise ValueError(f"{name} is {value.layout} of {value.dtype}")
        tensors[name] = value.detach().to("cpu", copy=True).contiguous()
        return {TENSOR: name}
    if isinstance(value, dict):
        if TENSOR in value:
            raise ValueError(TENSOR)
        return {key: without_tensors(part, (*path, str(key)), tensors) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [without_tensors(part, (*path, str(number)), tensors) for number, part in enumerate(value)]
    return value


def checksum(text: str, tensors: dict[str, Tensor]) -> int:
    """CRC-32 of the JSON and of the name, the kind, the shape and the bytes of each tensor."""
    value = zlib.crc32(text.encode())
    for name, tensor in sorted(tensors.items()):
        value = zlib.crc32(f"{name} {tensor.dtype} {list(tensor.shape)}".encode(), value)
        value = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, value)
    return value


def header_bytes(raw: bytes) -> int:
    """The length of the header, as the file says it."""
    return int.from_bytes(raw[:8], "little")


def is_ours(raw: bytes) -> bool:
    """Whether a file begins as those that `encode` makes."""
    return raw[8 : 8 + len(HEAD)] == HEAD


def decode(raw: bytes) -> Any:
    """The inverse of `encode`, tensors on the CPU.

    Raises ValueError, KeyError, TypeError, RecursionError or safetensors.SafetensorError for a damaged file.
    """
    length = header_bytes(raw)
    if length > min(MOST_HEADER, len(raw) - 8):
        raise ValueError("the header claims to be longer than it can be")
    note = json.loads(json.loads(raw[8 : 8 + length])["__metadata__"][KEY])
    tensors = safetensors.torch.load(raw)
    if checksum(note["content"], tensors) != note["crc32"]:
        raise ValueError("the checksum is wrong")
    described = json.loads(note["content"])
    check_plain(described)
    return with_tensors(described, tensors)


def with_tensors(value: Any, tensors: dict[str, Tensor]) -> Any:
    """The inverse of `without_tensors`. Raises KeyError."""
    if isinstance(value, dict):
        if value.keys() == {TENSOR}:
            return tensors[value[TENSOR]]
        return {key: with_tensors(part, tensors) for key, part in value.items()}
    return [with_tensors(part, tensors) for part in value] if isinstance(value, list) else value
