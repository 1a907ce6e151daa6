"""The words of a command as Hydra wants them: shorthands spelled out, flags first."""

import re

from mlbench.core.config_groups import entries
from mlbench.core.errors import UserError

FLAGS_WITH_VALUE = ("--cfg", "-c", "--package", "-p", "--config-dir", "-cd", "--config-name", "-cn")
SWEEP_FLAGS, SHOW_FLAGS = {"-m", "--multirun"}, {"-c", "--cfg"}


def for_hydra(words: list[str]) -> list[str]:
    """The whole command, rewritten. Raises UserError."""
    if SHOW_FLAGS & set(words) and SWEEP_FLAGS & set(words):
        raise UserError("--cfg shows the config of one run; leave out --multirun (-m)")
    words = [as_group(word) for word in flags_first(with_seeds(words))]
    return [as_point(word) for word in words] if SWEEP_FLAGS & set(words) else words


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


def flags_first(words: list[str]) -> list[str]:
    """The words with Hydra's flags before the settings: its parser takes settings in one piece only."""
    flags, settings_, left = [], [], list(words)
    while left:
        word = left.pop(0)
        if not word.startswith("-"):
            settings_.append(word)
            continue
        flags.append(word)
        if word in FLAGS_WITH_VALUE and left:
            flags.append(left.pop(0))
    return [*flags, *settings_]


def as_group(word: str) -> str:
    """`data.source=mnist`, where mnist is the name of a dataset, as Hydra spells the choice of a group."""
    name, _, value = word.partition("=")
    return f"data@{word}" if name == "data.source" and value in entries("data") else word


def as_point(word: str) -> str:
    """In a sweep, `data.tasks=3` as a sweep over one value.

    Hydra composes a sweep's first config without the groups that are swept over, and there a setting that only their
    choices bring does not exist yet; sweeps are applied job by job.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import OverrideParseException

    name, equals, value = word.partition("=")
    if word.startswith("-") or "." not in name or name.lstrip("+").startswith("hydra.") or not equals or not value:
        return word
    try:
        swept = OverridesParser.create().parse_override(word).is_sweep_override()
    except OverrideParseException:
        return word
    if value == "null":
        value = "'null'"  # choice() takes no null, and hands a text on without its quotes
    return word if swept else f"{name}=choice({value})"
