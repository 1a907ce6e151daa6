"""What a user may have meant by a name that is not there: one spelled like it, of another group, or that does it."""

import difflib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from mlbench.core.config_groups import GROUPS, conf_folder, entries
from mlbench.core.errors import nearest

ALIKE = 0.75  # words of a description that are at least so similar to a name are about the same
SHORT = 3  # letters; so short a word is like many others
SHOWN = 3


def instead_of_choice(group: str, name: str, names: Iterable[str], own: Sequence[Path] = ()) -> str:
    """For `group=name`, which is not there: the end of a message, or nothing.

    Args:
        group: a config group.
        name: what the user asked for in it.
        names: what there is in it.
        own: the user's folders of configs.
    """
    if found := homes(name, own):
        return f"; there is {' and '.join(found)}"
    if hint := nearest(name, names):
        return hint
    if doing := by_description(group, name, own):
        return f"; did you mean {' or '.join(map(repr, doing))}?"
    others = {choice: each for each in GROUPS for choice in all_entries(each, own)}
    close = difflib.get_close_matches(name, list(others), n=1, cutoff=0.8)
    return f"; did you mean {others[close[0]]}={close[0]}?" if close else ""


def instead_of_word(word: str, options: Iterable[str], own: Sequence[Path] = ()) -> str:
    """For a word that is no command or group: the end of a message, or nothing."""
    if found := homes(word, own):
        return (
            f"; it is a choice: mlbench help {found[0]} tells about it, mlbench list {found[0].partition('=')[0]} more"
        )
    if hint := nearest(word, options):
        return hint
    choices = {choice: group for group in GROUPS for choice in all_entries(group, own)}
    close = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return f"; did you mean {choices[close[0]]}={close[0]}?" if close else ""


def homes(name: str, own: Sequence[Path]) -> list[str]:
    """`group=name` for each group that has this name."""
    return [f"{group}={name}" for group in GROUPS if name in all_entries(group, own)]


def by_description(group: str, name: str, own: Sequence[Path]) -> list[str]:
    """The first few choices whose line of description has a word like this one: `quantize` is near `quantisation`."""
    asked = [part for part in re.split("[_-]", name.lower()) if len(part) > SHORT]

    def does(what: str) -> bool:
        words = re.findall(r"[^\W_]+", what.lower())
        return any(difflib.get_close_matches(part, [word[: len(part)] for word in words], 1, ALIKE) for part in asked)

    return [choice for choice, what in all_entries(group, own).items() if does(what)][:SHOWN]


def all_entries(group: str, own: Sequence[Path]) -> dict[str, str]:
    """Name -> description of what a group offers, the user's own included."""
    return {name: what for folder in (conf_folder(), *own) for name, what in entries(group, folder).items()}
