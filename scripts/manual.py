"""A hook of mkdocs: tables of methods and settings, made from conf/ and the classes when the manual is built.

A page asks for them by comments of its own on a line: `<!-- choices: lifelong -->` is a table of a group,
`<!-- settings: lifelong -->` every choice of it with its settings, `<!-- settings: top -->` the settings of a run.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from mlbench.cli.class_source import Sources
from mlbench.cli.settings_help import Entry, Setting, describe, top_level
from mlbench.core.buildable import locate
from mlbench.core.config_groups import FAMILIES, entries
from mlbench.experiment.technique import Technique

MARK = re.compile(r"^<!-- (choices|settings): (\w+) -->$", re.MULTILINE)
STREAMS = ("split_", "permuted_", "rotated_")
SCENARIOS = ("task", "domain", "class")  # what a lifelong method that names none is defined for


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the tables where a page asks for them, and keep intervals in one line; mkdocs calls this for every page."""
    markdown = MARK.sub(lambda mark: MAKERS[mark[1]](mark[2]), markdown)
    return "\n".join(unbroken(line) if line.startswith("|") else line for line in markdown.splitlines())


def unbroken(row: str) -> str:
    """A row of a table whose `.825 ± .012` are not broken into lines."""
    return row.replace(" ± ", "\u00a0±\u00a0")


def choices(group: str) -> str:
    """A table of what a group offers; names lead to the settings, where the page has them."""
    rows = []
    for name in entries(group):
        entry = describe(group, name)
        link = f"[`{name}`](#{name})" if group in FAMILIES else f"`{name}`"
        rows.append([link, entry.what, *extra_columns(entry)])
    return table([f"`{group}=`", "what it is", *EXTRA.get(group, ())], rows)


def extra_columns(entry: Entry) -> list[str]:
    """What a method says of itself in its class, for the columns of its family."""
    sources = Sources()
    if entry.group == "lifelong":
        named = sources.attribute(entry.target, "scenarios")
        scenarios = [str(each) for each in named] if isinstance(named, Sequence) else list(SCENARIOS)
        return ["all" if set(scenarios) == set(SCENARIOS) else ", ".join(scenarios)]
    if entry.group == "explain":
        method = locate(entry.target, Technique, "explain", ())
        return [", ".join(kind.name for kind in method.modalities)]
    if entry.group == "experiment":
        swept = "hydra.sweeper.params."
        words = (
            f"{'-m ' * name.startswith(swept)}{name.removeprefix(swept)}={value}"
            for name, value in entry.brings.items()
        )
        return ["<br>".join(f"`{word}`" for word in words)]
    return []


def settings(group: str) -> str:
    """The settings of every choice of a group, or of a run (`top`)."""
    if group == "top":
        return setting_table(top_level(), "")
    return "\n\n".join(one_entry(group, name) for name in entries(group) if not (group == "data" and is_stream(name)))


def is_stream(name: str) -> bool:
    """Whether a dataset is a stream over another one; each kind of stream is shown once, over the digits."""
    return name.startswith(STREAMS) and not name.endswith("_digits")


def one_entry(group: str, name: str) -> str:
    """A choice: its docstring, its settings, what else it changes."""
    entry = describe(group, name)
    parts = [f"### {name}", f"{entry.what}."]
    if entry.description:
        parts.append(entry.description)
    parts.append(setting_table(entry.settings, f"{group}.") if entry.settings else "No settings.")
    if entry.brings:
        changed = ", ".join(f"`{key}={value}`" for key, value in entry.brings.items())
        parts.append(f"Also sets, unless the command says otherwise: {changed}.")
    return "\n\n".join(parts)


def setting_table(found: Iterable[Setting], prefix: str) -> str:
    """Settings as rows."""
    rows = [
        [
            f"`{prefix}{each.name}`",
            "" if "|" in each.kind else each.kind.replace("a ", "a\u00a0", 1),
            f"`{each.default}`" if each.default else "(give one)",
            each.allowed.replace("|", ", ") if "|" in each.kind else each.allowed,
            each.meaning.replace("|", "|\u200b"),  # a line may be broken there
        ]
        for each in found
    ]
    return table(["setting", "type", "default", "allowed", "meaning"], rows)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table that may be scrolled where it is too wide."""
    lines = [header, ["---"] * len(header), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


MAKERS = {"choices": choices, "settings": settings}
EXTRA = {"lifelong": ["scenarios"], "explain": ["takes"], "experiment": ["sets"]}
