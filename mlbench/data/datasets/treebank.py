"""A treebank: a folder of CoNLL-U files."""

import http.client
import re
import shutil
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import torch

from mlbench.core.atomic_io import move_into_place, new_folder
from mlbench.core.errors import UserError, require
from mlbench.core.user_path import user_path
from mlbench.data import text
from mlbench.data.dataset import Data
from mlbench.data.datasets import conllu
from mlbench.data.datasets.downloads import TREEBANKS
from mlbench.data.stream import Stream
from mlbench.data.tokenizer import make_tokenizer

ADDRESS = "https://raw.githubusercontent.com/UniversalDependencies"
RELEASE = "r2.16"  # of Universal Dependencies: the same texts whenever they are fetched
PATIENCE = 60  # seconds for an answer
FILES = {"train": "train", "validation": "dev", "test": "test"}


@dataclass
class Treebank(Data):
    """The sentences of `*train*.conllu`, `*dev*.conllu` and `*test*.conllu` in a folder, with their words' tags.

    `path` null takes `<data_dir>/<name>`, fetched on first use where it can be. Word pieces are made of the training
    words alone, at most `vocabulary` of them, unless `tokenizer` names a folder or a model on Hugging Face's hub; of
    all of them, however few sentences are used, so that they are the same at every seed. `classes` is a pattern whose
    group, in a sentence's sent_id, is its class: GUM's genre. `train_sentences` is how many are used, null for all.
    """

    name: str
    path: str | None
    classes: str
    length: int
    vocabulary: int | None
    tokenizer: str | None
    train_sentences: int | None

    def __post_init__(self):
        require(8 <= self.length <= 512, "length", self.length, "8 to 512 pieces")
        if self.tokenizer is None:
            allowed = "100 to 100000 pieces"
            require(
                self.vocabulary is not None and 100 <= self.vocabulary <= 100_000,
                "vocabulary",
                self.vocabulary,
                allowed,
            )
        size = self.train_sentences
        require(size is None or size >= 10, "train_sentences", size, "10 or more, or null for all")
        try:
            groups = re.compile(self.classes).groups
        except re.error:
            groups = 0
        require(groups == 1, "classes", self.classes, "a regular expression with one group")

    def files(self, data_dir: Path) -> list[Path]:
        """The folder."""
        return [user_path(self.path) if self.path else data_dir / self.name]

    def stream(self, data_dir: Path, generator: torch.Generator) -> Stream:
        """One task; `generator` draws the sentences where not all are used."""
        (folder,) = self.files(data_dir)
        if not self.path and not folder.exists() and self.name in TREEBANKS:
            fetch(self.name, data_dir)
        parts = {part: conllu.read(file(folder, word), self.classes) for part, word in FILES.items()}
        words = (sentence.words for sentence in parts["train"])
        pieces = make_tokenizer(words, self.vocabulary, self.tokenizer)
        if self.train_sentences is not None:
            order = torch.randperm(len(parts["train"]), generator=generator)[: self.train_sentences].sort().values
            parts["train"] = [parts["train"][number] for number in order.tolist()]
        return text.stream(parts, pieces, self.length)


def fetch(name: str, data_dir: Path) -> Path:
    """Download a treebank into `<data_dir>/<name>/`, whole or not at all. Raises UserError where that is impossible."""
    repository, prefix, _ = TREEBANKS[name]
    folder = data_dir / name
    try:
        with new_folder(data_dir), tempfile.TemporaryDirectory(dir=data_dir, prefix=f".{name}.") as root:
            part = Path(root) / name
            part.mkdir()
            for word in FILES.values():
                place = part / f"{prefix}-{word}.conllu"
                download(f"{ADDRESS}/{repository}/{RELEASE}/{place.name}", place)
                conllu.read(place, "()")
            move_into_place(part, folder)
    except (OSError, http.client.HTTPException, UserError) as error:
        files = ", ".join(f"{prefix}-{word}.conllu" for word in FILES.values())
        raise UserError(
            f"{name} could not be fetched ({error})\nput {files} into {folder}; data=grammar needs no download"
        ) from error
    return folder


def download(address: str, place: Path) -> None:
    """Write what is at an address to `place`. Raises OSError, also where the connection ends before the file does."""
    with urllib.request.urlopen(address, timeout=PATIENCE) as answer, place.open("wb") as stream:
        shutil.copyfileobj(answer, stream)
        promised = answer.headers.get("Content-Length")
    if promised is not None and place.stat().st_size != int(promised):
        raise OSError(f"{place.name} ended after {place.stat().st_size} of {promised} bytes")


def file(folder: Path, word: str) -> Path:
    """The one CoNLL-U file of a folder with this word in its name. Raises UserError."""
    if not folder.is_dir():
        raise UserError(
            f"{folder} is not there; put a treebank's *train*.conllu, *dev*.conllu and *test*.conllu into it\n"
            "or fetch one: mlbench data get ud_english_gum; data=grammar needs none"
        )
    paths = sorted([*folder.glob(f"*{word}*.conllu"), *folder.glob(f"*{word}*.conllup")])
    if len(paths) != 1:
        raise UserError(f"{folder} has {len(paths)} files *{word}*.conllu; needed is one")
    return paths[0]
