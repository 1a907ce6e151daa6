"""The file of a compressed network: everything `mlbench.load` needs, every weight in its shortest exact coding.

8 bytes  MAGIC
4 bytes  length of the header
header   JSON, deflated: the packed network without its weights, and name, kind and shape of each tensor
tensors  one behind the other (coding.py)
4 bytes  CRC-32 of all before
"""

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mlbench.core.atomic_io import write_whole
from mlbench.runs.codec import encodings

MAGIC = b"MLBENCH1"


def write(path: Path, packed: dict[str, Any], entropy: bool) -> int:
    """Write a packed network (`Trained.packed`), complete or not at all, and return its bytes. Raises RunError."""
    content = encode(packed, entropy)
    write_whole(path, lambda stream: stream.write(content))
    return len(content)


def encode(packed: dict[str, Any], entropy: bool) -> bytes:
    """Return the content of the file. A tensor that two names share is written twice."""
    weights = {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in packed["weights"].items()}
    header = {
        **{name: plain(value) for name, value in packed.items() if name != "weights"},
        "tensors": [[name, array.dtype.name, list(array.shape)] for name, array in weights.items()],
    }
    text = zlib.compress(json.dumps(header, separators=(",", ":")).encode(), 9)
    body = b"".join(encodings.encode(array, entropy) for array in weights.values())
    content = MAGIC + struct.pack("<I", len(text)) + text + body
    return content + struct.pack("<I", zlib.crc32(content))


def plain(value: Any) -> Any:
    """Tensors as nested lists; single-precision numbers survive the way through decimal digits."""
    return value.tolist() if isinstance(value, Tensor) else value


def is_artefact(content: bytes) -> bool:
    """Return whether this is the content of such a file."""
    return content.startswith(MAGIC)


def decode(content: bytes) -> dict[str, Any]:
    """The packed network. Raises ValueError for anything but an undamaged file; nothing in it can run code."""
    if len(content) < len(MAGIC) + 8 or zlib.crc32(content[:-4]) != struct.unpack("<I", content[-4:])[0]:
        raise ValueError("truncated or damaged")
    reader = encodings.Reader(content[:-4])
    reader.take(len(MAGIC))
    packed = json.loads(zlib.decompress(reader.take(reader.number("<I"))))
    weights = {}
    for name, kind, shape in packed.pop("tensors"):
        array = encodings.decode(reader, kind, shape)
        weights[name] = torch.from_numpy(np.array(array))
    constants = {name: torch.tensor(packed[name]) for name in ("mean", "std") if packed[name] is not None}
    return {**packed, **constants, "weights": weights}
