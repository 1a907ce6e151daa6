"""The file of a compressed network: everything `mlbench.load` needs, every weight in its shortest exact coding.

8 bytes  MAGIC
4 bytes  length of the header
header   JSON, deflated: the packed network without its weights; name, kind and shape of each tensor; and, by name, the
         tensors that are the very numbers of another one
tensors  one behind the other (encodings.py)
4 bytes  CRC-32 of all before
"""

import json
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mlbench.core.atomic_io import write_whole
from mlbench.runs.codec import encodings
from mlbench.runs.codec.tensors import first_of_each, to_array, to_tensor
from mlbench.runs.size_limit import most_bytes

MAGIC = b"MLBENCH1"
BYTES_OF_A_NUMBER = 4  # as a rule
MOST_HEADER = 2**23  # bytes; the names and shapes of a thousand layers are a hundredth of it


def write(path: Path, packed: dict[str, Any], entropy: bool) -> int:
    """Write a packed network (`Trained.packed`), complete or not at all, and return its bytes. Raises RunError."""
    content = encode(packed, entropy)
    write_whole(path, lambda stream: stream.write(content))
    return len(content)


def encode(packed: dict[str, Any], entropy: bool) -> bytes:
    """Return the content of the file. A tensor that several names share is written once."""
    first = first_of_each(packed["weights"])
    weights = {name: to_array(tensor) for name, tensor in packed["weights"].items() if first[name] == name}
    header = {
        **{name: plain(value) for name, value in packed.items() if name != "weights"},
        "tensors": [[name, kind, list(array.shape)] for name, (kind, array) in weights.items()],
    }
    if shared := {name: other for name, other in first.items() if other != name}:
        header["shared"] = shared
    text = zlib.compress(json.dumps(header, separators=(",", ":")).encode(), 9)
    body = b"".join(encodings.encode(array, entropy) for _, array in weights.values())
    content = MAGIC + struct.pack("<I", len(text)) + text + body
    return content + struct.pack("<I", zlib.crc32(content))


def plain(value: Any) -> Any:
    """Tensors as nested lists; single-precision numbers survive the way through decimal digits."""
    return value.tolist() if isinstance(value, Tensor) else value


def is_artefact(content: bytes) -> bool:
    """Return whether this is the content of such a file."""
    return content.startswith(MAGIC)


def decode(content: bytes) -> dict[str, Any]:
    """The packed network; names that shared a tensor share one again.

    Raises ValueError for anything but an undamaged file, and for one that claims far more numbers than its length
    allows, before these take memory; nothing in it can run code.
    """
    if len(content) < len(MAGIC) + 8 or zlib.crc32(content[:-4]) != struct.unpack("<I", content[-4:])[0]:
        raise ValueError("truncated or damaged")
    reader = encodings.Reader(content[:-4])
    reader.take(len(MAGIC))
    packed = json.loads(inflate(reader.take(reader.number("<I"))))
    tensors, weights = packed.pop("tensors"), {}
    check_sizes(tensors, most_bytes(len(content)))
    for name, kind, shape in tensors:
        weights[name] = to_tensor(kind, encodings.decode(reader, kind, shape))
    for name, other in packed.pop("shared", {}).items():
        weights[name] = weights[other]
    constants = {name: torch.tensor(packed[name]) for name in ("mean", "std") if packed[name] is not None}
    return {**packed, **constants, "weights": weights}


def inflate(text: bytes) -> bytes:
    """The header. Raises ValueError for a longer one than MOST_HEADER."""
    reader = zlib.decompressobj()
    header = reader.decompress(text, MOST_HEADER)
    if reader.unconsumed_tail or not reader.eof:
        raise ValueError("the header is too long or ends too early")
    return header


def check_sizes(tensors: list[list[Any]], most: int) -> None:
    """Raise ValueError unless the tensors of a header have shapes of whole numbers and take `most` bytes at most."""
    for _, _, shape in tensors:
        if any(type(side) is not int or side < 0 for side in shape):
            raise ValueError(f"a tensor has the shape {shape}")
        most -= math.prod(shape) * BYTES_OF_A_NUMBER
        if most < 0:
            raise ValueError("it claims more numbers than a file of this length holds")
