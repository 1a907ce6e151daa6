"""Words of a command that are read back as they were meant: by a shell, and by Hydra's grammar of settings."""

import re
import shlex


def quoted(text: str) -> str:
    """A text in Hydra's quotes, where every character stands for itself; only `${...}` keeps its meaning."""
    inside = re.sub(r"(\\*)'", lambda found: found[1] * 2 + "\\'", text)
    return "'" + re.sub(r"\\+$", lambda found: found[0] * 2, inside) + "'"


def is_quoted(value: str) -> bool:
    """Whether a value stands in Hydra's quotes from its first character to its last."""
    return bool(re.fullmatch(r"'((\\\\)*|(.*?[^\\])(\\\\)*)'|\"((\\\\)*|(.*?[^\\])(\\\\)*)\"", value, re.DOTALL))


def path_setting(name: str, path: object) -> str:
    """`name=path` for a setting that takes a path, in quotes where the command line would take it for something else.

    What the command line does with paths that stand without quotes is told in `mlbench.cli.overrides`.
    """
    text = str(path)
    if "${" in text:
        return f"{name}=" + quoted(text.replace("${", r"\${"))
    if text == "???":  # OmegaConf's mark of a missing value, also in quotes
        text = "./???"
    special = text in ("", "null") or "," in text or is_quoted(text)
    return f"{name}={quoted(text) if special else text}"


def command(*words: str) -> str:
    """A command as it can be pasted into a shell."""
    return shlex.join(words)
