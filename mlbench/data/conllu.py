"""CoNLL-U, the format of Universal Dependencies: sentences of words with their tags and entities."""

import re
from collections.abc import Iterator
from pathlib import Path

from mlbench.data.texts import Sentence
from mlbench.errors import UserError

COLUMNS = 10
SPAN = re.compile(r"\(([^()]*)(\)?)|([^()]+)\)")  # a span that opens, perhaps to close at once, or one that closes
OUTSIDE = "O"


def read(path: Path, classes: str) -> list[Sentence]:
    """The sentences of a file, with properties `upos`, `xpos` and `ner`.

    Multi-word tokens (1-2) and empty nodes (1.1) are left out. A sentence's class is the group of the pattern `classes`
    at the beginning of its sent_id, or `text`. Raises UserError naming file and line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    found, named = [], False
    for comments, rows in blocks(lines, path):
        named = named or any("global.Entity" in line and "identity" in line for line in comments)
        words, upos, xpos, misc = ([row[place] for row in rows] for place in (1, 3, 4, 9))
        told = re.match(classes, next((line.split("=", 1)[1].strip() for line in comments if "sent_id =" in line), ""))
        tags = {"upos": upos, "xpos": xpos, "ner": entities(misc, named)}
        found.append(Sentence([word.replace(" ", "_") for word in words], tags, told[1] if told else "text"))
    if not found:
        raise UserError(f"{path} holds no sentences")
    return found


def blocks(lines: list[str], path: Path) -> Iterator[tuple[list[str], list[list[str]]]]:
    """(comment lines, rows of ten columns) of each sentence."""
    comments: list[str] = []
    rows: list[list[str]] = []
    for number, line in enumerate([*lines, ""], start=1):
        if line.startswith("#"):
            comments.append(line)
        elif line.strip():
            row = line.split("\t")
            if len(row) != COLUMNS:
                raise UserError(f"{path}, line {number}: {len(row)} columns; CoNLL-U has {COLUMNS}, split by tabs")
            if row[0].isdigit():
                rows.append(row)
        elif rows:
            yield comments, rows
            comments, rows = [], []


def entities(misc: list[str], named: bool) -> list[str]:
    """B-, I- and O of the outermost spans in `Entity=`, or what `NER=` says; with `named` only spans with an identity.

    GUM marks every mention; those with an identity (the eighth field, a title in Wikipedia) are named entities.
    """
    fields = [dict(part.split("=", 1) for part in each.split("|") if "=" in part) for each in misc]
    if any("NER" in each for each in fields):
        return [each.get("NER", OUTSIDE) for each in fields]
    labels, inside, begins = [], [], False
    for each in fields:
        closing: list[str] = []
        for opened, at_once, closed in SPAN.findall(each.get("Entity", "")):
            parts = opened.split("-")
            if closed:
                closing.append(closed)
            elif not named or len(parts) >= 8:
                begins = begins or not inside
                inside.append((parts[0], parts[1] if len(parts) > 1 else parts[0]))
                closing += [parts[0]] if at_once else []
        kind = inside[0][1] if inside else None
        labels.append(OUTSIDE if kind is None else f"{'B' if begins else 'I'}-{kind}")
        begins = False
        for name in closing:
            place = next((k for k in reversed(range(len(inside))) if inside[k][0] == name), None)
            if place is not None:
                del inside[place]
    return labels
