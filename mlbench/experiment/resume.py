"""The config of a run that is to be continued."""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

from mlbench.core.command_line import path_setting
from mlbench.core.errors import UserError
from mlbench.runs import layout

INSIDE = 2  # levels of a run's folder below it
MAY_CHANGE = ("resume", "device", "threads")


def reopened(folder: Path, config: DictConfig, overrides: list[str]) -> tuple[DictConfig, dict[str, str | None]]:
    """The config and group choices of a run to be resumed. Raises UserError."""
    others = [o for o in overrides if o.partition("=")[0] not in MAY_CHANGE]
    if others:
        raise UserError(
            f"resume={folder} takes its settings from that folder; besides it only threads, and a device of the same "
            f"kind, can be given, not {', '.join(others)}"
        )
    saved = folder / layout.CONFIG
    if not saved.is_file():
        raise UserError(f"resume={folder}: {what_is_there(folder)}; name the folder of one run")
    try:
        old = OmegaConf.load(saved)
        names = OmegaConf.to_container(OmegaConf.load(folder / layout.HYDRA / layout.GROUP_NAMES))
    except (OSError, ValueError, YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"resume={folder}: its config.yaml cannot be read ({reason})") from error
    for name in (override.partition("=")[0] for override in overrides):
        old[name] = config[name]
    old.force = False  # it was meant for the run's beginning; now it would throw away what is to be resumed
    return old, names


def what_is_there(folder: Path) -> str:
    """What is in the place of a run's folder; for a file inside of one, where that is."""
    if not folder.exists():
        return "there is no such folder"
    if folder.is_dir():
        return "there is no config.yaml"
    above = folder.resolve().parents[:INSIDE]
    run = next((place for place in above if (place / layout.HYDRA / layout.GROUP_NAMES).is_file()), None)
    return "it is a file" + (f" of {path_setting('resume', run)}" if run else "")
