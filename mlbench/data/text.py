"""A corpus of sentences becomes a stream of one task, with word pieces as tokens."""

from dataclasses import dataclass, replace
from itertools import chain

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
        length: Most word pieces of a row, [CLS] and [SEP] among them. The class of a longer sentence is told from its
            beginning; its words stand in several rows.
    """
    labels = sorted({sentence.label for part in parts.values() for sentence in part})
    ids_by_word = {name: pieces.ids([sentence.words for sentence in part]) for name, part in parts.items()}
    spans = {name: [rows_of(words, length - 2) for words in part] for name, part in ids_by_word.items()}
    modality = Tokens(pieces.names, pieces.special, pieces.mask, pieces.opening, pieces.content())
    splits = {}
    for name, part in parts.items():
        pool = Pool(rows(ids_by_word[name], spans[name], pieces, length), modality)
        splits[name] = Split(pool, torch.arange(len(part)), class_numbers(part, labels), 0, AsIds())
    unlabelled = pack_rows(splits["train"].pool.examples, PACK_FACTOR * length, modality)
    whole = {name: every_row(split) for name, split in splits.items()}
    word_properties = properties(parts, ids_by_word, spans, whole)
    about = {"validation": splits["validation"], "properties": word_properties, "unlabelled": unlabelled}
    task = Task("texts", splits["train"], splits["test"], **about)
    return Stream([task], None, len(labels), labels, SharedHead(), remarks=long_sentences(ids_by_word, spans, length))


def rows_of(words: list[list[int]], room: int) -> list[list[int]]:
    """How the words of a sentence are divided among rows, as few as there can be; a word is never torn apart.

    Args:
        words: The ids of the pieces of each word.
        room: Most pieces of a row.

    Returns:
        The numbers of the words of each row. A word of more pieces than a row has room for ends a row and is in none.
    """
    found, filled = [[]], 0
    for number, word in enumerate(words):
        if filled + len(word) > room:
            found.append([])
            filled = 0
        if len(word) <= room:
            found[-1].append(number)
            filled += len(word)
    return [found[0], *(row for row in found[1:] if row)]


def long_sentences(
    ids_by_word: dict[str, list[list[list[int]]]], spans: dict[str, list[list[list[int]]]], length: int
) -> list[str]:
    """What there is to say of sentences of more than one row, and of words that are in none."""
    counts = {name: sum(len(each) > 1 for each in part) for name, part in spans.items()}
    told = [f"{count:,} of {len(spans[name]):,} {name} sentences" for name, count in counts.items() if count]
    lines = [f"data.length={length} pieces: {', '.join(told)} are longer and are read in parts"] if told else []
    long = sum(len(word) > length - 2 for part in ids_by_word.values() for words in part for word in words)
    return [*lines, *([f"data.length={length} pieces leaves out {long} words that are longer"] if long else [])]


def every_row(split: Split) -> Split:
    """All rows of the pool of a split of sentences, those beyond the first of a sentence among them."""
    rows = torch.arange(len(split.pool.examples))
    return replace(split, rows=rows, labels=torch.zeros_like(rows))


def class_numbers(sentences: list[Sentence], labels: list[str]) -> Tensor:
    """Return the number of each sentence's class, int64 [n]."""
    numbers = {label: number for number, label in enumerate(labels)}
    return torch.tensor([numbers[sentence.label] for sentence in sentences])


def rows(ids_by_word: list[list[list[int]]], spans: list[list[list[int]]], pieces: Pieces, length: int) -> Tensor:
    """[CLS] pieces [SEP], int32 [n, length], PAD behind: the beginning of each sentence, then what else there is."""
    every = [list(chain(*words))[: length - 2] for words in ids_by_word]
    for words, parts in zip(ids_by_word, spans, strict=True):
        every += [list(chain.from_iterable(words[number] for number in part)) for part in parts[1:]]
    table = torch.full((len(every), length), PAD, dtype=torch.int32)
    for row, inner in zip(table, every, strict=True):
        ids = [pieces.opening, *inner, pieces.closing]
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
    parts: dict[str, list[Sentence]],
    ids_by_word: dict[str, list[list[list[int]]]],
    spans: dict[str, list[list[list[int]]]],
    whole: dict[str, Split],
) -> Properties | None:
    """Return the tags of the words that are in a row.

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
    part_items = {
        part: items(parts[part], ids_by_word[part], spans[part], numbers, words, whole[part]) for part in PARTS
    }
    return Properties(values, part_items["train"], part_items["test"], part_items["validation"])


def items(
    sentences: list[Sentence],
    ids_by_word: list[list[list[int]]],
    spans: list[list[list[int]]],
    numbers: dict[str, dict[str, int]],
    words: dict[str, int],
    whole: Split,
) -> Items:
    """Return the words of one part with their tags; `whole` has the rows that they stand in."""
    places, forms, following = [], [], len(sentences)
    tags: dict[str, list[int]] = {name: [] for name in numbers}
    for number, (sentence, pieces, parts) in enumerate(zip(sentences, ids_by_word, spans, strict=True)):
        for nth, part in enumerate(parts):
            row = following if nth else number
            following += nth > 0
            start = 1  # behind [CLS]
            for place in part:
                end = start + len(pieces[place])
                if end > start:
                    places.append((row, start, end))
                    forms.append(words[sentence.words[place]])
                    for name, values in numbers.items():
                        tags[name].append(values[sentence.tags[name][place]])
                start = end
    table = torch.tensor(places, dtype=torch.int64).view(-1, 3)
    labels = {name: torch.tensor(each, dtype=torch.int64) for name, each in tags.items()}
    return Items(table[:, 0], labels, table[:, 1:], torch.tensor(forms, dtype=torch.int64), whole)
