"""Tokenizers: words become word pieces, which are numbers that a network can read."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlbench.core.errors import SettingError, UserError, first_line, need, require
from mlbench.data.modality import PAD
from mlbench.models.carried_encoders import encoder_path

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
START = "\u2581"  # stands before a word
BEGINS = (START, "\u0120")  # what stands before a word in the pieces of SentencePiece and of byte-level BPE
Words = list[str]  # a sentence


@dataclass
class Pieces:
    """A tokenizer and the ids of its special tokens.

    All ids here have PAD for padding: a tokenizer's own padding and its PAD take each other's place.
    """

    tokenizer: "Tokenizer"
    opening: int  # [CLS]
    closing: int  # [SEP]
    mask: int
    special: list[int]
    padding: int = PAD  # the tokenizer's own id of it

    def __post_init__(self):
        self.opening, self.closing, self.mask = map(self.swapped, (self.opening, self.closing, self.mask))
        self.special = [self.swapped(number) for number in self.special]

    def swapped(self, number: int) -> int:
        """The id here of what the tokenizer calls `number`, and the reverse."""
        return {PAD: self.padding, self.padding: PAD}.get(number, number)

    def ids(self, sentences: list[Words]) -> list[list[list[int]]]:
        """Return the ids of the pieces of each word of each sentence, [sentences][words][pieces]."""
        ids = []
        encodings = self.tokenizer.encode_batch(sentences, is_pretokenized=True, add_special_tokens=False)
        for words, code in zip(sentences, encodings, strict=True):
            pieces: list[list[int]] = [[] for _ in words]
            for number, word in zip(code.ids, code.word_ids, strict=True):
                if word is not None:  # no special token was added
                    pieces[word].append(self.swapped(number))
            ids.append(pieces)
        return ids

    def content(self) -> dict[str, Any]:
        """All that makes it, as plain values: the tokenizer as JSON, and its own ids."""
        ends = {name: self.swapped(getattr(self, name)) for name in ("opening", "closing", "mask")}
        special = [self.swapped(number) for number in self.special]
        return {"tokenizer": self.tokenizer.to_str(), **ends, "special": special, "padding": self.padding}

    @property
    def names(self) -> list[str]:
        """The text of each id; "##" begins one that continues a word, whatever marks it in the tokenizer."""
        numbers = [self.swapped(number) for number in range(self.tokenizer.get_vocab_size())]
        names = [self.tokenizer.id_to_token(number) or "" for number in numbers]
        if not any(name.startswith(BEGINS) for name in names):
            return names
        texts = self.tokenizer.decode_batch([[number] for number in numbers], skip_special_tokens=False)
        marks = ["" if name.startswith(BEGINS) or place in self.special else "##" for place, name in enumerate(names)]
        return [mark + (text.strip() or name) for mark, text, name in zip(marks, texts, names, strict=True)]


def make_tokenizer(sentences: Iterable[Words], vocabulary: int | None, tokenizer: str | None) -> Pieces:
    """Load a tokenizer or train one.

    Args:
        sentences: Words of the training texts.
        vocabulary: Most word pieces of a tokenizer that is trained here.
        tokenizer: A folder or a name on the Hugging Face hub; None trains one on the sentences.

    Raises:
        SettingError: If the vocabulary is too small.
        UserError: If the tokenizer cannot be loaded.
    """
    if tokenizer is not None:
        return load_tokenizer(tokenizer)
    if vocabulary is None:
        raise SettingError("vocabulary", vocabulary, "a number of word pieces where tokenizer is null")
    return train_tokenizer(sentences, vocabulary)


def train_tokenizer(sentences: Iterable[Words], vocabulary: int) -> Pieces:
    """A word-piece tokeniser (Schuster & Nakajima 2012) with at most so many pieces, made of the words it is given.

    Pieces are the merges of byte-pair encoding over words that begin with START (Sennrich et al. 2016), and every
    letter inside a word and at its beginning. The library's own trainer of word pieces gives other pieces each time.
    Raises SettingError where the letters alone are more.
    """
    tokenizers = need("tokenizers", "text", "data of texts")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its threads and forks do not go together
    words = [[START + word for word in sentence] for sentence in sentences]
    letters = sorted({letter for each in words for word in each for letter in word[1:]})
    least = len(SPECIAL) + 2 * len(letters)
    require(vocabulary >= least, "vocabulary", vocabulary, f"{least} or more for texts of {len(letters)} letters")
    coder = tokenizers.Tokenizer(tokenizers.models.BPE())
    coder.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=vocabulary, min_frequency=2, show_progress=False)
    coder.train_from_iterator((" ".join(each) for each in words), trainer)
    merges = sorted(coder.get_vocab(), key=coder.get_vocab().get)
    names = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters)]
    names += [piece[1:] if piece.startswith(START) else f"##{piece}" for piece in merges if len(piece) > 1]
    places = {name: number for number, name in enumerate(list(dict.fromkeys(names))[:vocabulary])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordPiece(places, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    special = [places[name] for name in SPECIAL]
    return Pieces(tokenizer, places["[CLS]"], places["[SEP]"], places["[MASK]"], special)


def load_tokenizer(name: str) -> Pieces:
    """The tokeniser of a folder or of a name on Hugging Face's hub, where what was fetched before comes first.

    One that brings code of its own is refused. Raises UserError where it cannot be had.
    """
    read = need("transformers", "text", "data.tokenizer").AutoTokenizer.from_pretrained
    place = str(encoder_path(name))
    try:
        try:
            wrapped = read(place, trust_remote_code=False, add_prefix_space=True, local_files_only=True)
        except OSError:
            wrapped = read(place, trust_remote_code=False, add_prefix_space=True)
        pieces, special = wrapped.backend_tokenizer, wrapped.all_special_ids
        pieces.no_padding()  # a folder may carry lengths of its own, and the data has one: data.length
        pieces.no_truncation()
        ends = (wrapped.cls_token_id, wrapped.sep_token_id, wrapped.mask_token_id)
    except Exception as error:  # the hub's client raises whatever its network does
        reason = first_line(error)
        raise UserError(f"data.tokenizer={name} cannot be had, as a folder or from the hub ({reason})") from error
    if None in (*ends, wrapped.pad_token_id):
        raise UserError(f"data.tokenizer={name} is not BERT's kind: it lacks one of [CLS], [SEP], [MASK], [PAD]")
    return Pieces(pieces, *ends, list(special), wrapped.pad_token_id)
