"""CoNLL-U, the format of Universal Dependencies: sentences of words with their tags and entities.

Not the package conllu: its errors name no line, it accepts rows with too few or too many cells, and it takes spaces off
the ends of rows and splits them at two spaces, too.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from mlbench.core.errors import UserError
from mlbench.core.input_files import read_text
from mlbench.data.text import Sentence

COLUMNS = ["ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC"]
COLUMNS_COMMENT = "# global.columns ="  # of CoNLL-U Plus: a file that says what its columns are
OTHER = re.compile(r"\d+-\d+|\d+\.\d+")  # multi-word tokens and empty nodes
# a span that opens, perhaps to close at once, or one that closes; what is neither is taken whole, or it would take long
SPAN = re.compile(r"\(([^()]*)(\)?)|([^()]+)(\)?)")
OUTSIDE = "O"
Row = dict[str, str]  # column -> what stands there


def read(path: Path, classes: str) -> list[Sentence]:
    """The sentences of a file, with properties `upos`, `xpos` and `ner`.

    Multi-word tokens (1-2) and empty nodes (1.1) are left out. A sentence's class is the group of the pattern `classes`
    at the beginning of its sent_id, or `text`. A file of other columns names them in its first line, as in
    `# global.columns = FORM XPOS NER`; tags that it has not are `_`. Raises UserError naming file and line.
    """
    try:
        text = read_text(path, most=None).replace("\r\n", "\n").replace("\r", "\n")
        lines = text.split("\n")  # no other character ends a line
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    sentences, identities = [], False
    for comments, rows in blocks(lines, path):
        identities = identities or any("global.Entity" in line and "identity" in line for line in comments)
        names = [line.partition("=")[2].strip() for line in comments if "sent_id =" in line]
        match = re.match(classes, names[-1]) if names else None
        tags = {name: [row.get(name.upper(), "_") for row in rows] for name in ("upos", "xpos")}
        tags["ner"] = entity_labels(rows, identities)
        forms = [row["FORM"].replace(" ", "_") for row in rows]
        sentences.append(Sentence(forms, tags, match[1] if match else "text"))
    if not sentences:
        raise UserError(f"{path} holds no sentences")
    return sentences


def blocks(lines: list[str], path: Path) -> Iterator[tuple[list[str], list[Row]]]:
    """(comment lines, words) of each sentence."""
    comments: list[str] = []
    rows: list[Row] = []
    columns = COLUMNS
    for number, line in enumerate([*lines, ""], start=1):
        if line.startswith(COLUMNS_COMMENT):
            columns = line.removeprefix(COLUMNS_COMMENT).split()
            if "FORM" not in columns:
                raise UserError(f"{path}, line {number}: no column FORM, which holds the words")
        elif line.startswith("#") and (columns is COLUMNS or not rows):
            comments.append(line)
        elif line.strip():
            row = split(line, columns, f"{path}, line {number}")
            if row.get("ID", str(len(rows) + 1)) == str(len(rows) + 1):
                rows.append(row)
            elif not OTHER.fullmatch(row["ID"]):
                raise UserError(f"{path}, line {number}: the word's number is {row['ID']}, and not {len(rows) + 1}")
        elif rows:
            yield comments, rows
            comments, rows = [], []


def split(line: str, columns: list[str], place: str) -> Row:
    """What stands in the columns. Raises UserError where these are not as many as there should be."""
    cells = line.split(None if columns is not COLUMNS and "\t" not in line else "\t")
    if len(cells) != len(columns):
        kind = "CoNLL-U has" if columns is COLUMNS else "declared are"
        raise UserError(f"{place}: {len(cells)} columns; {kind} {len(columns)}, split by tabs")
    return dict(zip(columns, cells, strict=True))


def entity_labels(rows: list[Row], identities: bool) -> list[str]:
    """The labels in a column NER, or those that MISC gives."""
    if "NER" in rows[0]:
        return [row["NER"] for row in rows]
    return entities([row.get("MISC", "_") for row in rows], identities)


def entities(misc: list[str], identities: bool) -> list[str]:
    """Return the entity label of each word: what `NER=` says, or B-, I- and O of the outermost spans in `Entity=`.

    GUM marks every mention; those with an identity (the eighth field, a title in Wikipedia) are named entities.

    Args:
        misc: The column MISC of each word.
        identities: Whether only spans with an identity count.
    """
    fields = [dict(part.split("=", 1) for part in each.split("|") if "=" in part) for each in misc]
    if any("NER" in each for each in fields):
        return [each.get("NER", OUTSIDE) for each in fields]
    labels, inside, begins = [], [], False
    for each in fields:
        closing: list[str] = []
        for opening, at_once, name, closes in SPAN.findall(each.get("Entity", "")):
            parts = opening.split("-")
            if name:
                closing += [name] if closes else []
            elif not identities or len(parts) >= 8:
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
