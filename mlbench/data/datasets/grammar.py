"""A small language that is made up here, with tags and entities that its rules give: texts without a download."""

from dataclasses import dataclass
from pathlib import Path

import torch

from mlbench.core.errors import require
from mlbench.data import text as texts
from mlbench.data.dataset import Data
from mlbench.data.stream import Stream
from mlbench.data.text import Sentence
from mlbench.data.tokenizer import make_tokenizer

Tagged = tuple[str, str, str, str]  # word, UPOS, XPOS, entity


def words(text: str) -> list[str]:
    """A list of words."""
    return text.split()


BOTH = words(
    "answer call change cook dance dream drink fish guess hammer help hope laugh look love paint plan play rest run "
    "sail sleep smoke start step study talk test touch trade travel turn visit walk watch water wish work"
)
NOUNS = words(
    "apple bird boat book bridge cat city cloud coat dog door farm field flower garden hat hill horse house island "
    "letter lion market moon mountain piano queen river road sister song stone street teacher tree valley village"
)
VERBS = words(
    "bring build buy carry choose eat find forget give hear keep know learn lose make meet read remember see sell "
    "send show sing take teach tell throw wear write"
)
ADJECTIVES = words("big blue bright cold dark deep early empty fresh good green happy heavy little new old quiet red")
DETERMINERS = words("a every her his my no our some that the this your")
PRONOUNS = words("I they we you")
MODALS = words("can could may must should will would")
PREPOSITIONS = words("at behind from in near on with")
FIRST = words("Ada Ben Clara David Emma Felix Grace Hugo Ida Jonas Lena Max Nora Oscar Rosa Theo")
KINDS = words("Lake Mount Port Saint")
NAMES = words("Adler Brook Carver Dale Elgin Frost Garland Holm Jarvis Lund Marlow Norden Orwell Pine Quill Rowan")
ADVERBS = {
    "manner": words("badly calmly gladly loudly quickly slowly"),
    "place": words("abroad everywhere here nearby outside there"),
    "reason": words("accordingly consequently hence therefore thereby thus"),
    "time": words("always never often soon today yesterday"),
}
POSSESSIVES = words("her his my our your")
SAMPLE = 2000  # sentences of which the word pieces are made
AMBIGUOUS = 0.9  # of nouns and verbs: forms that are both


@dataclass
class Grammar(Data):
    """Sentences by rules, with the tags that these give: properties `upos`, `xpos`, `ner` and `decides` of each word.

    Nine of ten nouns and verbs have a form that is both, so that only the words around tell; names of persons and
    places share their second word. One adverb in a sentence is of manner, place, reason or time, at one of three
    places; it decides the sentence's class (`decides` is yes for it), and nothing else says anything about that.

    Word pieces are made of sentences that are the same at every seed, so that a network reads the texts of any seed;
    or they are those of `tokenizer`, a folder or a model on Hugging Face's hub.
    """

    train_sentences: int
    validation_sentences: int
    test_sentences: int
    length: int
    vocabulary: int
    tokenizer: str | None

    def __post_init__(self):
        for name in ("train_sentences", "validation_sentences", "test_sentences"):
            require(getattr(self, name) >= 10, name, getattr(self, name), "10 or more")
        require(8 <= self.length <= 512, "length", self.length, "8 to 512 pieces")
        require(100 <= self.vocabulary <= 2000, "vocabulary", self.vocabulary, "100 to 2000 pieces")

    def stream(self, data_dir: Path, generator: torch.Generator) -> Stream:  # noqa: ARG002
        """Sentences drawn by `generator`."""
        writer, sizes = Writer(generator), (self.train_sentences, self.validation_sentences, self.test_sentences)
        parts = {name: [writer.sentence() for _ in range(size)] for name, size in zip(texts.PARTS, sizes, strict=True)}
        always = Writer(torch.Generator().manual_seed(0))
        pieces = make_tokenizer((always.sentence().words for _ in range(SAMPLE)), self.vocabulary, self.tokenizer)
        return texts.stream(parts, pieces, self.length)


@dataclass
class Writer:
    """Draws sentences."""

    generator: torch.Generator

    def below(self, count: int) -> int:
        """A number from 0, below `count`."""
        return int(torch.randint(count, (), generator=self.generator))

    def one(self, words: list[str]) -> str:
        """One of the words."""
        return words[self.below(len(words))]

    def chance(self, share: float) -> bool:
        """True in that share of the cases."""
        return torch.rand((), generator=self.generator).item() < share

    def sentence(self) -> Sentence:
        """Subject, verb, object, perhaps more, and the adverb in front, before the verb or at the end."""
        subject, verb, rest = self.subject(), self.verb(), self.rest()
        kind = list(ADVERBS)[self.below(len(ADVERBS))]
        adverb: list[Tagged] = [(self.one(ADVERBS[kind]), "ADV", "RB", "O")]
        orders = (
            [*adverb, *subject, *verb, *rest],
            [*subject, *adverb, *verb, *rest],
            [*subject, *verb, *rest, *adverb],
        )
        order = orders[self.below(len(orders))]
        forms, upos, xpos, entities = (list(column) for column in zip(*order, strict=True))
        decides = ["yes" if word in adverb else "no" for word in order]
        return Sentence(forms, {"upos": upos, "xpos": xpos, "ner": entities, "decides": decides}, kind)

    def subject(self) -> list[Tagged]:
        """A pronoun, a person or things."""
        return [[(self.one(PRONOUNS), "PRON", "PRP", "O")], self.person(), self.things()][self.below(3)]

    def verb(self) -> list[Tagged]:
        """With an auxiliary or without."""
        verb = self.one(BOTH if self.chance(AMBIGUOUS) else VERBS)
        if self.chance(0.5):
            return [(self.one(MODALS), "AUX", "MD", "O"), (verb, "VERB", "VB", "O")]
        return [(verb, "VERB", "VBP", "O")]

    def rest(self) -> list[Tagged]:
        """What the verb takes, and in half of the cases a preposition with more."""
        phrase = self.things() if self.chance(0.7) else self.person()
        if self.chance(0.5):
            return phrase
        preposition = (self.one(PREPOSITIONS), "ADP", "IN", "O")
        return [*phrase, preposition, *(self.place() if self.chance(0.5) else self.things())]

    def things(self) -> list[Tagged]:
        """A determiner, perhaps an adjective, a noun."""
        adjective = [(self.one(ADJECTIVES), "ADJ", "JJ", "O")] if self.chance(0.3) else []
        noun = (self.one(BOTH if self.chance(AMBIGUOUS) else NOUNS), "NOUN", "NN", "O")
        determiner = self.one(DETERMINERS)
        return [(determiner, "DET", "PRP$" if determiner in POSSESSIVES else "DT", "O"), *adjective, noun]

    def person(self) -> list[Tagged]:
        """Two names."""
        return [(self.one(FIRST), "PROPN", "NNP", "B-person"), (self.one(NAMES), "PROPN", "NNP", "I-person")]

    def place(self) -> list[Tagged]:
        """The kind of a place and its name."""
        return [(self.one(KINDS), "PROPN", "NNP", "B-place"), (self.one(NAMES), "PROPN", "NNP", "I-place")]
