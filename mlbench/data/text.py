"""A corpus of sentences becomes a stream of one task, with word pieces as tokens."""

from dataclasses import dataclass
from itertools import accumulate, chain

import torch
from torch import Tensor

from mlbench.data.modality import PAD, Tokens
from mlbench.data.normalisation import AsIds
from mlbench.data.output_heads import SharedHead
from mlbench.data.properties import Items, Properties
from mlbench.data.split import Pool, Split
from mlbench.data.stream import Stream, Task
from mlbench.data.tokenizer import Pieces

PACK_FACTOR = 2  # times the length of a sentence's row
PARTS = ("train", "validation", "test")


@dataclass
class Sentence:
    """The words of a sentence with their tags, and the class of the sentence."""

    words: list[str]
    tags: dict[str, list[str]]  # property -> a value for each word
    label: str


def stream(parts: dict[str, list[Sentence]], pieces: Pieces, length: int) -> Stream:
    """Return a stream of one task, the classification of sentences.

    Args:
        parts: `train`, `validation` and `test` -> sentences.
        pieces: The tokenizer.
        length: Most word pieces of a sentence, [CLS] and [SEP] among them; longer sentences are cut.
    """
    labels = sorted({sentence.label for part in parts.values() for sentence in part})
    ids_by_word = {name: pieces.ids([sentence.words for sentence in part]) for name, part in parts.items()}
    modality = Tokens(pieces.names, pieces.special, pieces.mask, pieces.opening)
    splits = {}
    for name, part in parts.items():
        pool = Pool(rows(ids_by_word[name], pieces, length), modality)
        splits[name] = Split(pool, torch.arange(len(part)), class_numbers(part, labels), 0, AsIds())
    unlabelled = pack_rows(splits["train"].pool.examples, PACK_FACTOR * length, modality)
    word_properties = properties(parts, ids_by_word, length)
    about = {"validation": splits["validation"], "properties": word_properties, "unlabelled": unlabelled}
    task = Task("texts", splits["train"], splits["test"], **about)
    return Stream([task], None, len(labels), labels, SharedHead(), remarks=words_left_out(ids_by_word, length))


def words_left_out(ids_by_word: dict[str, list[list[list[int]]]], length: int) -> list[str]:
    """A line on how many words of each part are left out because they stand beyond `length` pieces, if any are."""
    told = []
    for name, sentences in ids_by_word.items():
        count = sum(len(words) for words in sentences)
        out = count - sum(words_within(words, length) for words in sentences)
        if out:
            told.append(f"{out:,} of {count:,} {name} words ({out / count:.1%})")
    return [f"data.length={length} pieces leaves out {', '.join(told)}"] if told else []


def words_within(words: list[list[int]], length: int) -> int:
    """How many words of a sentence end within `length` pieces, [CLS] and [SEP] among them."""
    ends = accumulate(len(word) for word in words)
    return sum(1 + end <= length - 1 for end in ends)


def class_numbers(sentences: list[Sentence], labels: list[str]) -> Tensor:
    """Return the number of each sentence's class, int64 [n]."""
    numbers = {label: number for number, label in enumerate(labels)}
    return torch.tensor([numbers[sentence.label] for sentence in sentences])


def rows(ids_by_word: list[list[list[int]]], pieces: Pieces, length: int) -> Tensor:
    """[CLS] pieces [SEP] of each sentence, int32 [n, length], PAD behind."""
    table = torch.full((len(ids_by_word), length), PAD, dtype=torch.int32)
    for row, words in zip(table, ids_by_word, strict=True):
        ids = [pieces.opening, *list(chain(*words))[: length - 2], pieces.closing]
        row[: len(ids)] = torch.tensor(ids)
    return table


def pack_rows(table: Tensor, length: int, modality: Tokens) -> Split:
    """Pack the rows of `table` [n, L], several whole ones side by side, into rows of `length` tokens with PAD behind.

    Most of a batch of single sentences would be PAD.
    """
    room, open_row = torch.full((len(table), length), PAD, dtype=torch.int32), 0
    end = 0
    for row in table:
        ids = row[: int((row != PAD).sum())]
        if end + len(ids) > length:
            open_row, end = open_row + 1, 0
        room[open_row, end : end + len(ids)] = ids
        end += len(ids)
    room = room[: open_row + 1].clone()
    return Split(Pool(room, modality), torch.arange(len(room)), torch.zeros(len(room), dtype=torch.int64), 0, AsIds())


def properties(
    parts: dict[str, list[Sentence]], ids_by_word: dict[str, list[list[list[int]]]], length: int
) -> Properties | None:
    """Return the tags of the words, without those beyond `length` pieces.

    Properties with one value for all words are left out, as in a treebank without such tags; None if none is left.
    """
    names = list(parts["train"][0].tags)
    every = [sentence for name in PARTS for sentence in parts[name]]
    values = {name: sorted({tag for sentence in every for tag in sentence.tags[name]}) for name in names}
    values = {name: tags for name, tags in values.items() if len(tags) > 1}
    if not values:
        return None
    numbers = {name: {tag: number for number, tag in enumerate(tags)} for name, tags in values.items()}
    words = {word: number for number, word in enumerate(sorted({word for s in every for word in s.words}))}
    part_items = {part: items(parts[part], ids_by_word[part], length, numbers, words) for part in PARTS}
    return Properties(values, part_items["train"], part_items["test"], part_items["validation"])


def items(
    sentences: list[Sentence],
    ids_by_word: list[list[list[int]]],
    length: int,
    numbers: dict[str, dict[str, int]],
    words: dict[str, int],
) -> Items:
    """Return the words of one part with their tags, without those beyond `length` pieces."""
    places, forms = [], []
    tags: dict[str, list[int]] = {name: [] for name in numbers}
    for row, (sentence, pieces) in enumerate(zip(sentences, ids_by_word, strict=True)):
        start = 1  # behind [CLS]
        for place, word in enumerate(pieces[: words_within(pieces, length)]):
            end = start + len(word)
            if word:
                places.append((row, start, end))
                forms.append(words[sentence.words[place]])
                for name, values in numbers.items():
                    tags[name].append(values[sentence.tags[name][place]])
            start = end
    table = torch.tensor(places, dtype=torch.int64).view(-1, 3)
    labels = {name: torch.tensor(each, dtype=torch.int64) for name, each in tags.items()}
    return Items(table[:, 0], labels, table[:, 1:], torch.tensor(forms, dtype=torch.int64))
