"""The config of a run that is to be continued."""

from pathlib import Path

from omegaconf import DictConfig

from mlbench.core.command_line import path_setting
from mlbench.core.config_groups import CHOICES, FAMILIES
from mlbench.core.errors import UserError
from mlbench.core.input_files import read_yaml
from mlbench.core.plain_node import plain_node
from mlbench.core.user_path import user_path
from mlbench.runs import layout

LEVELS = 2  # folders between `out` and that of a run: the family, and what it is about
INSIDE = 2  # levels of a run's folder below it
MOST_VALUES = 2**16  # of a run's config: some hundred, and one for each class in train.class_weights
MAY_CHANGE = ("resume", "device", "threads")


def reopened(folder: Path, config: DictConfig, overrides: list[str]) -> tuple[DictConfig, dict[str, str | None]]:
    """The config and group choices of a run to be resumed, as plain values: nothing in them is resolved.

    Raises UserError.
    """
    others = [o for o in overrides if o.partition("=")[0] not in MAY_CHANGE]
    if others:
        raise UserError(
            f"resume={folder} takes its settings from that folder; besides it only threads, and a device of the same "
            f"kind, can be given, not {', '.join(others)}"
        )
    saved = folder / layout.CONFIG
    if not saved.is_file():
        raise UserError(f"resume={folder}: {what_is_there(folder)}; name the folder of one run")
    old, names = saved_config(folder), saved_names(folder)
    for name in (override.partition("=")[0] for override in overrides):
        old[name] = config[name]
    old.out = str(out_of(folder, str(old.get("out"))))
    old.force = False  # it was meant for the run's beginning; now it would throw away what is to be resumed
    return old, names


def out_of(folder: Path, recorded: str) -> Path:
    """The `out` of a run: what its config says if the folder is below that, else where the folder itself has been put.

    A config that somebody else has written cannot name another place to write to.
    """
    out, folder = user_path(recorded), folder.resolve()
    if folder.is_relative_to(out.resolve()):
        return out
    named = len(folder.parents) > LEVELS and folder.parents[1].name in (*FAMILIES, "plain")
    return folder.parents[LEVELS] if named else folder.parent


def saved_config(folder: Path) -> DictConfig:
    """The content of a run's config.yaml. Raises UserError."""
    try:
        config = plain_node(read_yaml(folder / layout.CONFIG), "it", MOST_VALUES)
    except (OSError, UserError) as error:
        raise UserError(f"resume={folder}: its config.yaml cannot be read ({error})") from error
    for group in (*CHOICES, "train"):
        if not isinstance(config.get(group), DictConfig | None):
            raise UserError(f"resume={folder}: its config.yaml has no settings of {group}, but {config[group]}")
    return config


def saved_names(folder: Path) -> dict[str, str | None]:
    """The choice of each group of a run, None where there is none. Raises UserError."""
    path = folder / layout.HYDRA / layout.GROUP_NAMES
    try:
        names = read_yaml(path)
    except (OSError, UserError) as error:
        raise UserError(f"resume={folder}: {path} cannot be read ({error})") from error
    if not isinstance(names, dict) or any(not isinstance(names.get(group), str | None) for group in CHOICES):
        raise UserError(f"resume={folder}: {path} does not hold the name of each choice")
    return {group: names.get(group) for group in CHOICES}


def what_is_there(folder: Path) -> str:
    """What is in the place of a run's folder; for a file inside of one, where that is."""
    if not folder.exists():
        return "there is no such folder"
    if folder.is_dir():
        return "there is no config.yaml"
    above = folder.resolve().parents[:INSIDE]
    run = next((place for place in above if (place / layout.HYDRA / layout.GROUP_NAMES).is_file()), None)
    return "it is a file" + (f" of {path_setting('resume', run)}" if run else "")
