"""Exact codings of weights: the smallest that gives every value back bit for bit is the one that is written.

A tensor is a list of values, or only of those that are not zero together with where they are. Positions are gaps
between neighbours (Han et al. 2016, section 2) or a bitmask; values are floats or indices into a codebook of the
distinct ones. What indices and gaps are made of, small whole numbers, is packed with a fixed number of bits or, where
`entropy` allows it, by a Huffman code. All that reading needs is counted: codebooks, code tables, lengths.
"""

import math
import struct
from collections.abc import Iterator

import numpy as np

from mlbench.runs.codec import huffman

CODEBOOK_UP_TO = 256  # distinct values
GAP_BITS = range(1, 17)
POSITIONS = ("all", "gaps", "mask")
KINDS = {"float32": "<f4", "float64": "<f8", "int64": "<i8", "int32": "<i4", "int8": "i1", "uint8": "u1", "bool": "?"}
KINDS |= {"float16": "<f2", "int16": "<i2", "uint16": "<u2", "uint32": "<u4", "uint64": "<u8"}
KINDS |= {"bfloat16": "<i2", "complex32": "<f2", "complex64": "<f4", "complex128": "<f8"}  # as tensors.py gives them
KINDS |= {f"float8_{kind}": "u1" for kind in ("e4m3fn", "e4m3fnuz", "e5m2", "e5m2fnuz", "e8m0fnu")}


def pack(numbers: np.ndarray, bits: int) -> bytes:
    """Whole numbers [n] below 2 ** bits, most significant bit first."""
    digits = (numbers[:, None] >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(digits.astype(np.uint8)).tobytes()


def unpack(data: bytes, bits: int, n: int) -> np.ndarray:
    """The inverse of `pack`: int64 [n]."""
    if not bits:
        return np.zeros(n, dtype=np.int64)
    flat = np.unpackbits(np.frombuffer(data, np.uint8), count=n * bits).reshape(n, bits)
    return flat.astype(np.int64) @ (1 << np.arange(bits - 1, -1, -1))


class Reader:
    """Takes a string of bytes apart, front to back."""

    def __init__(self, data: bytes):
        self.data, self.place = memoryview(data), 0

    def take(self, size: int) -> bytes:
        """The next bytes. Raises ValueError when there are not so many."""
        if size < 0 or self.place + size > len(self.data):
            raise ValueError("the file ends too early")
        self.place += size
        return bytes(self.data[self.place - size : self.place])

    def number(self, form: str) -> int:
        """The next number in a form of `struct`."""
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]


def write_numbers(numbers: np.ndarray, bits: int, entropy: bool) -> bytes:
    """Whole numbers [n] below 2 ** bits, packed or Huffman-coded, whichever is shorter."""
    fixed = b"\x00" + pack(numbers, bits)
    if not (entropy and bits and len(numbers)):
        return fixed
    lengths = huffman.code_lengths(np.bincount(numbers, minlength=1 << bits))
    symbols = int(numbers.max()) + 1
    body = huffman.encode(numbers, lengths)
    head = b"\x01" + struct.pack("<HI", symbols - 1, len(body))
    return min(fixed, head + pack(lengths[:symbols].astype(np.int64), 5) + body, key=len)


def read_numbers(reader: Reader, bits: int, n: int) -> np.ndarray:
    """The inverse of `write_numbers`: int64 [n]."""
    if reader.number("B") == 0:
        return unpack(reader.take((n * bits + 7) // 8), bits, n)
    symbols, size = reader.number("<H") + 1, reader.number("<I")
    lengths = unpack(reader.take((symbols * 5 + 7) // 8), 5, symbols).astype(np.uint8)
    return huffman.decode(reader.take(size), lengths, n)


def gap_symbols(places: np.ndarray, bits: int) -> np.ndarray:
    """The gaps between neighbouring places as numbers below 2 ** bits.

    The highest number stands for so many zeros with no value behind them: a filler for a gap that is longer. A number g
    below it stands for g zeros and then a value.
    """
    longest = (1 << bits) - 1
    gaps = np.diff(places, prepend=-1) - 1
    fillers = gaps // longest
    symbols = np.full(len(gaps) + int(fillers.sum()), longest, dtype=np.int64)
    symbols[np.cumsum(fillers + 1) - 1] = gaps % longest
    return symbols


def places_of(symbols: np.ndarray, bits: int) -> np.ndarray:
    """The inverse of `gap_symbols`."""
    longest = (1 << bits) - 1
    advance = np.where(symbols == longest, longest, symbols + 1)
    return (np.cumsum(advance) - 1)[symbols != longest]


def write_places(places: np.ndarray, total: int, kind: str, entropy: bool) -> bytes:
    """Where values are among `total` places, as `gaps` (with the best width) or as a `mask`."""
    if kind == "mask":
        mask = np.zeros(total, dtype=np.int64)
        mask[places] = 1
        return write_numbers(mask, 1, entropy)
    candidates = []
    for bits in GAP_BITS:
        symbols = gap_symbols(places, bits)
        if len(symbols) <= 2 * len(places) + 16 or bits == GAP_BITS[-1]:  # more fillers than that never pay
            head = struct.pack("<BI", bits, len(symbols))
            candidates.append(head + write_numbers(symbols, bits, entropy))
    return min(candidates, key=len)


def read_places(reader: Reader, total: int, kind: str) -> np.ndarray:
    """The inverse of `write_places`: int64 [values]."""
    if kind == "mask":
        return np.flatnonzero(read_numbers(reader, 1, total))
    bits, count = reader.number("B"), reader.number("<I")
    if bits not in GAP_BITS:
        raise ValueError(f"gaps of {bits} bits")
    return places_of(read_numbers(reader, bits, count), bits)


def write_values(values: np.ndarray, entropy: bool) -> bytes:
    """Values [n] as they are, or as a codebook and indices where that is shorter."""
    raw = b"\x00" + values.tobytes()
    distinct, indices = np.unique(values.view(f"u{values.itemsize}"), return_inverse=True)  # bit patterns: exact
    if not 0 < len(distinct) <= CODEBOOK_UP_TO:
        return raw
    bits = math.ceil(math.log2(len(distinct)))
    codebook = struct.pack("B", len(distinct) - 1) + distinct.tobytes()
    return min(raw, b"\x01" + codebook + write_numbers(indices.reshape(-1), bits, entropy), key=len)


def read_values(reader: Reader, kind: str, n: int) -> np.ndarray:
    """The inverse of `write_values`."""
    form = np.dtype(KINDS[kind])
    if reader.number("B") == 0:
        return np.frombuffer(reader.take(n * form.itemsize), form)
    size = reader.number("B") + 1
    codebook = np.frombuffer(reader.take(size * form.itemsize), form)
    return codebook[read_numbers(reader, math.ceil(math.log2(size)), n)]


def candidates(values: np.ndarray, entropy: bool) -> Iterator[bytes]:
    """Every coding of values [n]."""
    yield b"\x00" + write_values(values, entropy)
    places = np.flatnonzero(values.view(f"u{values.itemsize}"))  # -0.0 is a value, 0.0 is none
    if len(places) < len(values):
        for number, kind in enumerate(POSITIONS[1:], start=1):
            head = struct.pack("<BI", number, len(places))
            if len(places):
                yield head + write_places(places, len(values), kind, entropy) + write_values(values[places], entropy)
            else:
                yield head


def encode(array: np.ndarray, entropy: bool) -> bytes:
    """The shortest coding of an array of a kind in KINDS; its shape and kind are kept elsewhere."""
    values = np.ascontiguousarray(array, dtype=KINDS[array.dtype.name]).reshape(-1)
    return min(candidates(values, entropy), key=len)


def decode(reader: Reader, kind: str, shape: list[int]) -> np.ndarray:
    """The inverse of `encode`, read from where the reader stands. Raises ValueError for damaged bytes."""
    if kind not in KINDS:
        raise ValueError(f"unknown kind of numbers {kind}")
    total = math.prod(shape)
    number = reader.number("B")
    if number >= len(POSITIONS):
        raise ValueError("unknown coding of positions")
    if POSITIONS[number] == "all":
        return read_values(reader, kind, total).reshape(shape)
    count = reader.number("<I")
    values = np.zeros(total, dtype=KINDS[kind])
    if count:
        places = read_places(reader, total, POSITIONS[number])
        if len(places) != count or places[-1] >= total:
            raise ValueError("the positions do not fit the values")
        values[places] = read_values(reader, kind, count)
    return values.reshape(shape)
