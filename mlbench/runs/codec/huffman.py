"""Canonical Huffman codes (Huffman 1952): the lengths of the code words alone determine the code."""

import heapq
from itertools import count

import numpy as np

LONGEST = 24  # bits of a word; what is decoded looks at so many at once


def code_lengths(frequencies: np.ndarray) -> np.ndarray:
    """The length in bits of the word of each symbol, 0 for those that do not occur: uint8 [symbols].

    A lone symbol has a word of one bit. Frequencies so uneven that a word would be longer than LONGEST bits are evened
    out until it is not; the code is then no longer the shortest.
    """
    frequencies = np.asarray(frequencies, dtype=np.int64)
    present = np.flatnonzero(frequencies)
    lengths = np.zeros(len(frequencies), dtype=np.uint8)
    if len(present) == 1:
        lengths[present] = 1
        return lengths
    tick = count()
    heap = [(int(frequencies[symbol]), next(tick), [int(symbol)]) for symbol in present]
    heapq.heapify(heap)
    while len(heap) > 1:
        (low, _, left), (high, _, right) = heapq.heappop(heap), heapq.heappop(heap)
        lengths[left + right] += 1
        heapq.heappush(heap, (low + high, next(tick), left + right))
    if lengths.max() > LONGEST:
        return code_lengths(np.where(frequencies > 0, frequencies // 2 + 1, 0))
    return lengths


def code_words(lengths: np.ndarray) -> np.ndarray:
    """The canonical word of each symbol, uint32 [symbols]: shorter words first, equal lengths in symbol order."""
    words = np.zeros(len(lengths), dtype=np.uint32)
    word, before = 0, 0
    for symbol in np.lexsort((np.arange(len(lengths)), lengths)):
        if length := int(lengths[symbol]):
            word <<= length - before
            words[symbol], before = word, length
            word += 1
    return words


def encode(symbols: np.ndarray, lengths: np.ndarray) -> bytes:
    """Symbols [n] as a string of bits, the last byte filled up with zeros."""
    words, sizes = code_words(lengths)[symbols], lengths[symbols].astype(np.int64)
    ends = np.cumsum(sizes)
    bits = np.zeros(int(ends[-1]) if len(ends) else 0, dtype=np.uint8)
    for place in range(int(sizes.max(initial=0))):  # the place-th bit of every word, counted from its end
        longer = sizes > place
        bits[ends[longer] - 1 - place] = (words[longer] >> place) & 1
    return np.packbits(bits).tobytes()


def decode(data: bytes, lengths: np.ndarray, n: int) -> np.ndarray:
    """The inverse of `encode`: the first n symbols, int64 [n]. Raises ValueError for bits that are no code."""
    longest = int(lengths.max(initial=0))
    if longest > LONGEST or fibonacci(longest + 2) > n + 2 * len(lengths) or n > 8 * len(data):
        raise ValueError("no Huffman code of so many symbols has so long words")  # whose table would be as large
    words, present = code_words(lengths), np.flatnonzero(lengths)
    table = np.full(1 << longest, -1, dtype=np.int64)  # what a window of bits begins with
    for symbol in present:
        spare = longest - int(lengths[symbol])
        table[int(words[symbol]) << spare : (int(words[symbol]) + 1) << spare] = symbol
    bits = np.concatenate([np.unpackbits(np.frombuffer(data, np.uint8)), np.zeros(longest, np.uint8)])
    windows = np.zeros(len(bits) - longest + 1, dtype=np.int64)
    for place in range(longest):
        windows = (windows << 1) | bits[place : place + len(windows)]
    begins = table[windows]
    steps = np.where(begins >= 0, lengths[begins].astype(np.int64), 0).tolist()
    places, place = np.empty(n, dtype=np.int64), 0
    for index in range(n):
        if place >= len(steps) or not steps[place]:
            raise ValueError("the entropy-coded bits are damaged")
        places[index] = place
        place += steps[place]
    return begins[places]


def fibonacci(k: int) -> int:
    """The k-th Fibonacci number: a tree of depth L needs frequencies that add up to the (L + 2)-th, and more need not.

    Frequencies that `code_lengths` has evened out add up to twice the number of symbols more than they did.
    """
    last, this = 0, 1
    for _ in range(k - 1):
        last, this = this, last + this
    return this
