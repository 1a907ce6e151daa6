"""The words of a command as Hydra wants them: shorthands spelled out, flags first, texts in quotes."""

import re
from typing import TYPE_CHECKING

from mlbench.core.command_line import is_quoted, quoted
from mlbench.core.config_groups import GROUPS, conf_folder, entries
from mlbench.core.errors import UserError, nearest
from mlbench.core.user_path import user_path

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

FLAGS_WITH_VALUE = ("--cfg", "-c", "--package", "-p", "--config-name", "-cn")
KNOWN_FLAGS = (
    *("--help", "-h", "--hydra-help", "--version", "--cfg", "-c", "--resolve", "--package", "-p", "--run", "-r"),
    *("--multirun", "-m", "--shell-completion", "-sc", "--config-path", "-cp", "--config-name", "-cn", "--config-dir"),
    *("-cd", "--experimental-rerun", "--info", "-i"),
)  # Hydra's
FOLDER_FLAGS = ("--config-dir", "-cd")
SWEEP_FLAGS, SHOW_FLAGS = {"-m", "--multirun"}, {"-c", "--cfg"}
NEVER_SWEPT = {"out", "resume", "hydra.sweep.dir", "hydra.run.dir"}  # one for all runs of a command
TEXTS = NEVER_SWEPT | {  # what a user may have called anything
    "data_dir",
    "checkpoint",
    *(f"data.{name}" for name in ("path", "target", "name", "classes", "tokenizer")),
    *(f"data.source.{name}" for name in ("path", "target")),
    "model.pretrained",
    "model.weights",
    "model.name",
    "explain.images",
    "explain.attribution.images",
    "logger.uri",
    "logger.experiment",
    "logger.project",
}
# lists of such texts; what stands in brackets may also be the name of a file, where there is one
LISTS = {"data.path", "data.ignore", "data.source.ignore", "compress.teachers", "compress.distill.teachers"}


def for_hydra(words: list[str]) -> list[str]:
    """The whole command, rewritten. Raises UserError."""
    if SHOW_FLAGS & set(words) and SWEEP_FLAGS & set(words):
        raise UserError("--cfg shows the config of one run; leave out --multirun (-m)")
    flags, settings = flags_apart(with_seeds(words))
    sweep = bool(SWEEP_FLAGS & set(flags))
    settings = [as_meant(as_group(word), sweep) for word in settings]
    return [*flags, *(map(as_point, settings) if sweep else settings)]


def with_seeds(words: list[str]) -> list[str]:
    """`seeds=5` as `-m seed=0,1,2,3,4`. Raises UserError for another value, and beside a seed of its own."""
    seeds = [word for word in words if word.startswith("seeds=")]
    if not seeds:
        return words
    number = seeds[-1].removeprefix("seeds=")
    if not re.fullmatch("[1-9][0-9]{0,5}", number):
        raise UserError(f"{seeds[-1]}: allowed is a whole number from 1; seeds=3 stands for seed=0,1,2")
    others = [word for word in words if not word.startswith("seeds=")]
    if seed := [word for word in others if re.match(r"\+{0,2}seed=", word)]:
        raise UserError(
            f"{seeds[-1]} and {seed[0]} are both set; seeds={number} stands for seed=0 to {int(number) - 1}"
        )
    if SHOW_FLAGS & set(words):
        return [*others, "seed=0"]
    flag = [] if SWEEP_FLAGS & set(words) else ["-m"]
    return [*flag, *others, "seed=" + ",".join(map(str, range(int(number))))]


def flags_apart(words: list[str]) -> tuple[list[str], list[str]]:
    """Hydra's flags, which come first since its parser takes settings in one piece only, and the settings."""
    flags, settings, left = [], [], list(words)
    while left:
        word = left.pop(0)
        if not word.startswith("-"):
            settings.append(word)
            continue
        name, equals, value = word.partition("=")
        if name in FOLDER_FLAGS and (equals or left):
            flags += [name, str(user_path(value if equals else left.pop(0)))]
            continue
        if name not in KNOWN_FLAGS:
            raise UserError(unknown_flag(name))
        flags.append(word)
        if word in FLAGS_WITH_VALUE and left:
            flags.append(left.pop(0))
    return flags, settings


def unknown_flag(flag: str) -> str:
    """The message for an option that neither mlbench nor Hydra has."""
    name = flag.lstrip("-").replace("-", "_")
    known = re.search(
        rf"^{re.escape(name)}:", (conf_folder() / "config.yaml").read_text(encoding="utf-8"), re.MULTILINE
    )
    hint = f"; settings have no dashes: {name}=VALUE" if known or name in GROUPS else nearest(flag, KNOWN_FLAGS)
    return f"no option called {flag}{hint}; see mlbench --help"


def as_group(word: str) -> str:
    """`data.source=mnist`, where mnist is the name of a dataset, as Hydra spells the choice of a group."""
    name, _, value = word.partition("=")
    return f"data@{word}" if name == "data.source" and value in entries("data") else word


def as_point(word: str) -> str:
    """In a sweep, `data.tasks=3` as a sweep over one value.

    Hydra composes a sweep's first config without the groups that are swept over, and there a setting that only their
    choices bring does not exist yet; sweeps are applied job by job. What stands in quotes would lose them on the way
    through choice(): it is added instead, and a setting that no job knows is refused when the job is checked.
    """
    name, equals, value = word.partition("=")
    if "." not in name or name.lstrip("+").startswith("hydra.") or not equals or not value:
        return word
    if (override := parsed(word)) is None or override.is_sweep_override():
        return word
    if value == "null":
        value = "'null'"  # choice() takes no null, and hands a text on without its quotes
    elif is_quoted(value):
        return f"++{name.lstrip('+')}={value}"
    return f"{name}=choice({value})"


def as_meant(word: str, sweep: bool) -> str:
    """A setting in the quotes that Hydra's grammar wants around its value, where the user left them out.

    A text (`TEXTS`: paths, names of columns) is taken as it is typed; only `null`, `${...}` and what stands in quotes
    keep Hydra's meaning, and in a sweep commas between values. Any other value gets quotes where it would be a mistake
    of grammar otherwise.
    """
    name, equals, value = word.partition("=")
    key = name.lstrip("+")
    if word.startswith(("-", "~")) or not equals or value in ("", "null", "???") or is_quoted(value):
        return word
    if key in LISTS and value.startswith("[") and value.endswith("]") and len(commas(value)) == 1 and not exists(value):
        return f"{name}=[{','.join(map(in_quotes, commas(value[1:-1])))}]"
    if key in TEXTS:
        if stands_for_itself(value) or ("${" in value and parsed(word) is not None):
            return word
        return f"{name}={text_value(value, sweep and key not in NEVER_SWEPT)}"
    if key in GROUPS or parsed(word) is not None or parsed(f"{name}=x") is None:
        return word
    parts = commas(value) if sweep else [value]
    return f"{name}=" + ",".join(part if parsed(f"{name}={part}") is not None else quoted(part) for part in parts)


def text_value(value: str, sweep: bool) -> str:
    """The value of a text: one, or several of a sweep. A name with a comma is one where such a file exists."""
    if not sweep:
        parts = commas(value)
        several = len(parts) > 1 and not exists(value) and all(map(exists, parts))
        return value if several else quoted(value)  # Hydra then says that several values need -m
    if exists(value):
        return quoted(value)
    if re.match(r"(choice|glob)\(", value) and parsed(f"x={value}") is not None:
        return value
    return ",".join(map(in_quotes, commas(value)))


def in_quotes(part: str) -> str:
    """One of several texts."""
    plain = is_quoted(part) or part in ("", "null") or "${" in part or stands_for_itself(part)
    return part if plain else quoted(part)


def stands_for_itself(value: str) -> bool:
    """Whether Hydra's grammar takes a value for the text that it is."""
    if value != value.strip() or "\\" in value:
        return False
    found = parsed(f"x={value}")
    return found is not None and not found.is_sweep_override() and found.value() == value


def commas(value: str) -> list[str]:
    """A value taken apart at the commas that stand in no quotes and no brackets."""
    parts, depth, quote = [""], 0, ""
    for letter in value:
        if letter == "," and not quote and depth == 0:
            parts.append("")
            continue
        if letter in "'\"" and quote in ("", letter) and (quote or parts[-1].strip() == ""):
            quote = "" if quote else letter
        elif not quote:
            depth = max(0, depth + (letter in "([{") - (letter in ")]}"))
        parts[-1] += letter
    whole = len(parts) == 1 or depth > 0 or quote
    return [value] if whole else [part.strip() for part in parts]


def exists(path: str) -> bool:
    """Whether there is such a file or folder."""
    try:
        return user_path(path).exists()
    except (OSError, ValueError):  # too long, a zero byte
        return False


def parsed(word: str) -> "Override | None":
    """What Hydra's grammar makes of a setting; None for a mistake."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return OverridesParser.create().parse_override(word)
    except HydraException:
        return None
