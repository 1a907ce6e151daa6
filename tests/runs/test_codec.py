"""The file of a compressed network: exact, damaged files refused, sizes as theory says."""

import math

import numpy as np
import pytest
import torch

from mlbench.core.errors import UserError
from mlbench.data.normalisation import Normalise
from mlbench.models.mlp import MLP
from mlbench.runs.checkpoint import Trained, read_network
from mlbench.runs.codec import container, encodings, huffman


def draws(seed=0):
    return np.random.default_rng(seed)


def sparse(count, share, seed=0):
    generator = draws(seed)
    values = generator.normal(size=count).astype(np.float32)
    values[generator.random(count) >= share] = 0
    return values


ARRAYS = {
    "dense": draws().normal(size=(7, 5)).astype(np.float32),
    "one value": np.full((3, 4), 0.5, np.float32),
    "all zero": np.zeros((4, 4), np.float32),
    "sparse": sparse(5000, 0.05).reshape(50, 100),
    "very sparse": sparse(100_000, 0.0002),
    "half": sparse(3000, 0.5),
    "shared": draws().choice(np.float32([-0.3, -0.1, 0.2, 0.25]), 4000),
    "sparse and shared": sparse(4000, 0.1).round(0),
    "binary": draws().choice(np.float32([-0.07, 0.07]), (64, 64)),
    "signed zeros": np.float32([0.0, -0.0, 1.0, -0.0]),
    "not finite": np.float32([np.nan, np.inf, -np.inf, 0.0]),
    "256 values": np.arange(256, dtype=np.float32).repeat(3),
    "257 values": np.arange(257, dtype=np.float32).repeat(3),
    "empty": np.zeros((0, 3), np.float32),
    "scalar": np.array(3, np.int64),
    "int8": draws().integers(-128, 128, (9, 9)).astype(np.int8),
    "bool": np.array([True, False, True]),
    "double": draws().normal(size=5),
    "last only": np.float32([0] * 999 + [1]),
    "far apart": np.concatenate([np.zeros(1_500_000, np.float32), np.float32([1, 1])]),  # 22 of the longest gaps
}


@pytest.mark.parametrize("entropy", [False, True])
@pytest.mark.parametrize("name", ARRAYS)
def test_every_bit_comes_back(name, entropy):
    array = ARRAYS[name]
    written = encodings.encode(array, entropy)
    reader = encodings.Reader(written + b"more")
    found = encodings.decode(reader, array.dtype.name, list(array.shape))
    assert found.dtype == array.dtype
    assert found.shape == array.shape
    assert found.tobytes() == array.tobytes()
    assert reader.place == len(written)


@pytest.mark.parametrize("entropy", [False, True])
def test_each_candidate_is_exact(entropy):
    values = ARRAYS["sparse and shared"].astype(np.float32)
    written = list(encodings.candidates(values, entropy))
    assert len(written) == 3
    for one in written:
        assert encodings.decode(encodings.Reader(one), "float32", [len(values)]).tobytes() == values.tobytes()


def test_gaps_by_hand():
    # values at 0, 3, 4 and 20 with 3 bits: gaps 0, 2, 0, 15 = 7 + 7 + 1, a 7 being a filler
    places = np.array([0, 3, 4, 20])
    symbols = encodings.gap_symbols(places, 3)
    assert symbols.tolist() == [0, 2, 0, 7, 7, 1]
    assert encodings.places_of(symbols, 3).tolist() == places.tolist()
    assert encodings.gap_symbols(np.array([7]), 3).tolist() == [7, 0]  # a gap as long as the filler needs one


@pytest.mark.parametrize("bits", [1, 2, 5, 16])
def test_gaps_longer_than_the_index_need_fillers(bits):
    places = np.sort(draws().choice(70_000, 60, replace=False))
    assert encodings.places_of(encodings.gap_symbols(places, bits), bits).tolist() == places.tolist()


def test_zeros_and_few_values_save_what_theory_says():
    count, share = 100_000, 0.08
    values = sparse(count, share)
    kept = np.count_nonzero(values)
    size = len(encodings.encode(values, entropy=False))
    entropy_of_places = -(share * math.log2(share) + (1 - share) * math.log2(1 - share)) * count / 8
    assert 4 * kept + entropy_of_places < size < 4 * kept + 1.2 * entropy_of_places
    shared = np.where(values > 0, np.float32(0.2), np.where(values < 0, np.float32(-0.2), np.float32(0)))
    assert len(encodings.encode(shared, entropy=False)) == pytest.approx(size - 4 * kept + kept / 8 + 10, abs=8)
    binary = ARRAYS["binary"]
    assert len(encodings.encode(binary, entropy=False)) == binary.size // 8 + 2 + 1 + 8 + 1


def test_a_mask_beats_gaps_where_half_is_left():
    assert encodings.encode(ARRAYS["half"], entropy=False)[0] == encodings.POSITIONS.index("mask")
    assert encodings.encode(ARRAYS["sparse"], entropy=False)[0] == encodings.POSITIONS.index("gaps")


def test_code_lengths_are_those_of_the_best_code():
    # Huffman's own bound, and the sum of the merged frequencies, which is the length of the text
    frequencies = draws().integers(0, 1000, 40)
    lengths = huffman.code_lengths(frequencies).astype(int)
    heap, total = sorted(int(f) for f in frequencies if f), 0
    while len(heap) > 1:
        merged = heap[0] + heap[1]
        total += merged
        heap = sorted([merged, *heap[2:]])
    assert (frequencies * lengths).sum() == total
    assert sum(2.0**-length for length in lengths if length) == 1
    p = frequencies[frequencies > 0] / frequencies.sum()
    bound = -(p * np.log2(p)).sum()
    assert bound <= total / frequencies.sum() < bound + 1


def test_no_word_is_the_beginning_of_another():
    lengths = huffman.code_lengths(draws().integers(1, 500, 30))
    words = [format(word, f"0{length}b") for word, length in zip(huffman.code_words(lengths), lengths, strict=True)]
    assert not any(a != b and b.startswith(a) for a in words for b in words)
    assert len(set(words)) == 30


@pytest.mark.parametrize("symbols", [[], [3], [5, 5, 5], [0, 1] * 10, list(range(200)) * 3])
def test_a_text_comes_back(symbols):
    symbols = np.array(symbols, dtype=np.int64)
    lengths = huffman.code_lengths(np.bincount(symbols, minlength=8))
    assert huffman.decode(huffman.encode(symbols, lengths), lengths, len(symbols)).tolist() == symbols.tolist()


def test_uneven_frequencies_keep_words_short():
    fibonacci = [1, 1]
    while len(fibonacci) < 60:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    lengths = huffman.code_lengths(np.array([0, *fibonacci, 0]))
    assert lengths.max() <= huffman.LONGEST
    assert sum(2.0 ** -int(length) for length in lengths if length) <= 1
    assert (lengths > 0).tolist() == [False, *[True] * 60, False]  # what does not occur has no word


def test_an_unknown_coding_of_positions_is_damage():
    with pytest.raises(ValueError, match="unknown coding of positions"):
        encodings.decode(encodings.Reader(bytes([len(encodings.POSITIONS)]) + bytes(8)), "float32", [3])


def packed():
    torch.manual_seed(0)
    net = MLP((1, 4, 4), 3, [8])
    normalise = Normalise(torch.tensor([0.1307]), torch.tensor([0.3081]))
    model = {"_target_": "mlbench.models.mlp.MLP", "hidden": [8], "dropout": 0.0}
    return net, Trained(net, model, (1, 4, 4), 3, ["a", "b", "c"], None, normalise).packed()


def test_the_file_holds_everything_exactly():
    _, content = packed()
    found = container.decode(container.encode(content, entropy=True))
    assert found.keys() == content.keys()
    for name, weight in content["weights"].items():
        assert torch.equal(found["weights"][name], weight)
    assert torch.equal(found["mean"], content["mean"])
    assert torch.equal(found["std"], content["std"])
    assert found["model"] == content["model"]


KINDS = ("bfloat16", "float16", "int16", "uint16", "uint32", "uint64", "uint8", "int8", "int32", "bool", "complex32")
KINDS += ("complex64", "complex128", "float8_e4m3fn", "float8_e5m2", "float64")


@pytest.mark.parametrize("entropy", [False, True])
@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
@pytest.mark.parametrize("kind", KINDS)
def test_numbers_of_every_kind_come_back(kind, entropy):
    numbers = torch.from_numpy(draws().normal(size=(6, 5)) * 40).abs().to(getattr(torch, kind))
    numbers[2:4] = torch.zeros((), dtype=numbers.dtype)
    content = packed()[1] | {
        "weights": {"matrix": numbers, "turned": numbers.t(), "one": numbers[0, 0], "no": numbers[:0]}
    }
    found = container.decode(container.encode(content, entropy))["weights"]
    for name, tensor in content["weights"].items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape)
        bits = [one.contiguous().reshape(-1).view(torch.uint8).tolist() for one in (found[name], tensor)]
        assert bits[0] == bits[1]


def test_a_shared_tensor_is_written_once_and_shared_again():
    values = torch.from_numpy(draws().normal(size=(50, 40)).astype(np.float32))
    alone, copied = {"a": values}, {"a": values, "b": values.clone(), "c": values}
    size = lambda weights: len(container.encode(packed()[1] | {"weights": weights}, False))  # noqa: E731
    assert 0 < size({"a": values, "b": values.detach(), "c": values.view(50, 40)}) - size(alone) < 60
    assert size(copied) - size(alone) > values.nbytes
    found = container.decode(container.encode(packed()[1] | {"weights": copied}, False))["weights"]
    assert found["a"].data_ptr() == found["c"].data_ptr() != found["b"].data_ptr()
    assert all(torch.equal(tensor, values) for tensor in found.values())
    part = {"a": values, "b": values[:10], "c": values.t(), "d": values[:0], "e": values[:0].clone()}
    found = container.decode(container.encode(packed()[1] | {"weights": part}, False))["weights"]
    assert all(torch.equal(found[name], tensor) for name, tensor in part.items())  # others of the same numbers


def test_a_file_that_shares_what_it_does_not_hold_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(container, "first_of_each", lambda weights: dict.fromkeys(weights, "nowhere"))
    (tmp_path / "net.mlb").write_bytes(container.encode(packed()[1], False))
    with pytest.raises(UserError, match=r"net.mlb cannot be read"):
        read_network(tmp_path / "net.mlb")


def test_a_network_for_texts_has_no_mean():
    content = packed()[1] | {"mean": None, "std": None}
    found = container.decode(container.encode(content, entropy=False))
    assert found["mean"] is found["std"] is None


def test_a_flipped_bit_or_a_missing_byte_is_detected():
    written = container.encode(packed()[1], entropy=False)
    for place in range(0, len(written), 37):
        broken = bytearray(written)
        broken[place] ^= 4
        with pytest.raises(ValueError, match=r"damaged"):
            container.decode(bytes(broken))
    with pytest.raises(ValueError, match=r"damaged"):
        container.decode(written[:-1])


def test_huffman_words_are_used_only_where_they_are_asked_for_and_shorter():
    skewed, even = np.repeat([0, 1, 2, 3], [970, 10, 10, 10]), np.tile([0, 1, 2, 3], 250)
    packed, coded = (encodings.write_numbers(skewed, 2, entropy) for entropy in (False, True))
    assert (packed[0], len(packed)) == (0, 1 + 1000 * 2 // 8)
    assert coded[0] == 1
    assert len(coded) < len(packed)
    assert encodings.write_numbers(even, 2, True) == encodings.write_numbers(even, 2, False)
