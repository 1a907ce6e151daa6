"""Sentences become word pieces, and a stream of one task: the one code for every corpus."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mlbench.data.heads import SharedHead
from mlbench.data.kinds import PAD, AsIds, Items, Properties, Text
from mlbench.data.tasks import Pool, Split, Stream, Task
from mlbench.errors import UserError, require

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PACKED = 2  # times the length of a sentence's row
START = "\u2581"  # stands before a word
PARTS = ("train", "validation", "test")


@dataclass
class Sentence:
    """Words, what is known of each, and the class of the whole."""

    words: list[str]
    tags: dict[str, list[str]]  # property -> a value for each word
    label: str


@dataclass
class Pieces:
    """A tokeniser, and the ids of what stands for no text."""

    tokenizer: "Tokenizer"
    opening: int  # [CLS]
    closing: int  # [SEP]
    mask: int
    special: list[int]

    def ids(self, sentences: list[Sentence]) -> list[list[list[int]]]:
        """The pieces of each word of each sentence; a word that is nothing but what no piece covers is unknown."""
        found = []
        words = [sentence.words for sentence in sentences]
        coded = self.tokenizer.encode_batch(words, is_pretokenized=True, add_special_tokens=False)
        for sentence, code in zip(sentences, coded, strict=True):
            pieces: list[list[int]] = [[] for _ in sentence.words]
            for number, word in zip(code.ids, code.word_ids, strict=True):
                pieces[word].append(number)
            found.append(pieces)
        return found

    @property
    def names(self) -> list[str]:
        """What each id stands for."""
        return [self.tokenizer.id_to_token(number) or "" for number in range(self.tokenizer.get_vocab_size())]


def pieces_of(sentences: Iterable[Sentence], vocabulary: int | None, tokenizer: str | None) -> Pieces:
    """Those of `tokenizer`, a folder or a name on the hub, or for null `vocabulary` pieces made of the sentences."""
    return trained(sentences, vocabulary) if tokenizer is None else downloaded(tokenizer)


def trained(sentences: Iterable[Sentence], vocabulary: int) -> Pieces:
    """A word-piece tokeniser (Schuster & Nakajima 2012) with at most so many pieces, made of the words it is given.

    Pieces are the merges of byte-pair encoding over words that begin with START (Sennrich et al. 2016), and every
    letter inside a word and at its beginning. The library's own trainer of word pieces gives other pieces each time.
    Raises SettingError where the letters alone are more.
    """
    tokenizers = imported("tokenizers")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its threads and forks do not go together
    words = [[START + word for word in sentence.words] for sentence in sentences]
    letters = sorted({letter for each in words for word in each for letter in word[1:]})
    least = len(SPECIAL) + 2 * len(letters)
    require(vocabulary >= least, "vocabulary", vocabulary, f"{least} or more for texts of {len(letters)} letters")
    coder = tokenizers.Tokenizer(tokenizers.models.BPE())
    coder.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=vocabulary, min_frequency=2, show_progress=False)
    coder.train_from_iterator((" ".join(each) for each in words), trainer)
    merged = sorted(coder.get_vocab(), key=coder.get_vocab().get)
    names = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters)]
    names += [piece[1:] if piece.startswith(START) else f"##{piece}" for piece in merged if len(piece) > 1]
    places = {name: number for number, name in enumerate(list(dict.fromkeys(names))[:vocabulary])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(places, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    special = [places[name] for name in SPECIAL]
    return Pieces(tokenizer, places["[CLS]"], places["[SEP]"], places["[MASK]"], special)


def downloaded(name: str) -> Pieces:
    """The tokeniser of a folder or of a name on Hugging Face's hub, where what was fetched before comes first.

    One that brings code of its own is refused. Raises UserError where it cannot be had.
    """
    read = imported("transformers").AutoTokenizer.from_pretrained
    try:
        try:
            wrapped = read(name, trust_remote_code=False, local_files_only=True)
        except OSError:
            wrapped = read(name, trust_remote_code=False)
        pieces, special = wrapped.backend_tokenizer, wrapped.all_special_ids
        ends = (wrapped.cls_token_id, wrapped.sep_token_id, wrapped.mask_token_id)
    except Exception as error:  # the hub's client raises whatever its network does
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"data.tokenizer={name} cannot be had, as a folder or from the hub ({reason})") from error
    if wrapped.pad_token_id != PAD or None in ends:
        raise UserError(f"data.tokenizer={name} is not BERT's kind: needed are [CLS], [SEP], [MASK], and [PAD] as 0")
    return Pieces(pieces, *ends, list(special))


def imported(library: str) -> object:
    """The library. Raises UserError where it is not installed."""
    try:
        module = __import__(library)
    except ImportError as error:
        raise UserError(f"data of texts needs {library}: pip install 'mlbench[text]'") from error
    return module


def stream(parts: dict[str, list[Sentence]], pieces: Pieces, length: int) -> Stream:
    """One task: the sentences' classes, in rows of at most `length` pieces; longer ones are cut."""
    labels = sorted({sentence.label for part in parts.values() for sentence in part})
    coded = {name: pieces.ids(part) for name, part in parts.items()}
    splits = {
        name: Split(
            Pool(rows(coded[name], pieces, length)), torch.arange(len(part)), numbered(part, labels), 0, AsIds()
        )
        for name, part in parts.items()
    }
    side_by_side = packed(splits["train"].pool.pictures, PACKED * length)
    text = Text(pieces.names, pieces.special, pieces.mask, pieces.opening, side_by_side)
    known = properties(parts, coded, length)
    task = Task("texts", splits["train"], splits["test"], None, splits["validation"], properties=known, text=text)
    return Stream([task], None, len(labels), labels, SharedHead())


def numbered(sentences: list[Sentence], labels: list[str]) -> Tensor:
    """The number [n] of each sentence's class."""
    numbers = {label: number for number, label in enumerate(labels)}
    return torch.tensor([numbers[sentence.label] for sentence in sentences])


def rows(coded: list[list[list[int]]], pieces: Pieces, length: int) -> Tensor:
    """[CLS] pieces [SEP] of each sentence, int32 [n, length], PAD behind."""
    table = torch.full((len(coded), length), PAD, dtype=torch.int32)
    for row, words in zip(table, coded, strict=True):
        ids = [pieces.opening, *list(chain(*words))[: length - 2], pieces.closing]
        row[: len(ids)] = torch.tensor(ids)
    return table


def packed(table: Tensor, length: int) -> Split:
    """The rows of `table` [n, L], as many whole ones as have room side by side in rows of `length`, PAD behind.

    A batch of sentences as they are is PAD for the most part.
    """
    room, open_row = torch.full((len(table), length), PAD, dtype=torch.int32), 0
    used = 0
    for row in table:
        ids = row[: int((row != PAD).sum())]
        if used + len(ids) > length:
            open_row, used = open_row + 1, 0
        room[open_row, used : used + len(ids)] = ids
        used += len(ids)
    room = room[: open_row + 1].clone()
    return Split(Pool(room), torch.arange(len(room)), torch.zeros(len(room), dtype=torch.int64), 0, AsIds())


def properties(
    parts: dict[str, list[Sentence]], coded: dict[str, list[list[list[int]]]], length: int
) -> Properties | None:
    """What is known of the words, those left out that a row has no room for.

    What is the same for every word, as tags that a treebank does without, is nothing to know; None if that is all.
    """
    names = list(parts["train"][0].tags)
    every = [sentence for name in PARTS for sentence in parts[name]]
    values = {name: sorted({tag for sentence in every for tag in sentence.tags[name]}) for name in names}
    values = {name: tags for name, tags in values.items() if len(tags) > 1}
    if not values:
        return None
    numbers = {name: {tag: number for number, tag in enumerate(tags)} for name, tags in values.items()}
    words = {word: number for number, word in enumerate(sorted({word for s in every for word in s.words}))}
    found = {part: items(parts[part], coded[part], length, numbers, words) for part in PARTS}
    return Properties(values, found["train"], found["test"], found["validation"])


def items(
    sentences: list[Sentence],
    coded: list[list[list[int]]],
    length: int,
    numbers: dict[str, dict[str, int]],
    words: dict[str, int],
) -> Items:
    """The words of one part."""
    places, forms = [], []
    tags: dict[str, list[int]] = {name: [] for name in numbers}
    for row, (sentence, pieces) in enumerate(zip(sentences, coded, strict=True)):
        start = 1  # behind [CLS]
        for place, word in enumerate(pieces):
            end = start + len(word)
            if end > length - 1:
                break
            if word:
                places.append((row, start, end))
                forms.append(words[sentence.words[place]])
                for name, values in numbers.items():
                    tags[name].append(values[sentence.tags[name][place]])
            start = end
    table = torch.tensor(places, dtype=torch.int64).view(-1, 3)
    labels = {name: torch.tensor(each, dtype=torch.int64) for name, each in tags.items()}
    return Items(table[:, 0], labels, table[:, 1:], torch.tensor(forms, dtype=torch.int64))
