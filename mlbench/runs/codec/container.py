"""The file of a compressed network: everything `mlbench.load` needs, every weight in its shortest exact coding.

8 bytes  MAGIC
4 bytes  length of the header
header   JSON, deflated: the packed network without its weights; name, kind and shape of each tensor; and, by name, the
         tensors that are the very numbers of another one
tensors  one behind the other (encodings.py)
4 bytes  CRC-32 of all before
"""

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mlbench.core.atomic_io import write_whole
from mlbench.runs.codec import encodings
from mlbench.runs.codec.tensors import first_of_each, to_array, to_tensor

MAGIC = b"MLBENCH1"


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

    Raises ValueError for anything but an undamaged file; nothing in it can run code.
    """
    if len(content) < len(MAGIC) + 8 or zlib.crc32(content[:-4]) != struct.unpack("<I", content[-4:])[0]:
        raise ValueError("truncated or damaged")
    reader = encodings.Reader(content[:-4])
    reader.take(len(MAGIC))
    packed = json.loads(zlib.decompress(reader.take(reader.number("<I"))))
    weights = {}
    for name, kind, shape in packed.pop("tensors"):
        weights[name] = to_tensor(kind, encodings.decode(reader, kind, shape))
    for name, other in packed.pop("shared", {}).items():
        weights[name] = weights[other]
    constants = {name: torch.tensor(packed[name]) for name in ("mean", "std") if packed[name] is not None}
    return {**packed, **constants, "weights": weights}
