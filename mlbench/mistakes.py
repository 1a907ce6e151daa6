"""Short messages for mistakes in a command line; Hydra is imported only when there is one."""

import json
import re
from pathlib import Path

from mlbench.catalogue import FAMILIES, GROUPS, conf_folder
from mlbench.errors import UserError, nearest

OF_EXTRAS = {("hydra/launcher", "ray"): ("hydra-ray-launcher", "ray")}  # choices that another package brings


def own_folders(words: list[str]) -> tuple[list[str], list[str]]:
    """The absolute folders given by --config-dir or -cd, and the other words. Raises UserError for one not there."""
    found, others, rest = [], [], iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if name in ("--config-dir", "-cd"):
            folder = Path(value if equals else next(rest, ""))
            if not folder.is_dir():
                raise UserError(f"--config-dir {folder}: no such folder")
            found.append(str(folder.resolve()))
        else:
            others.append(word)
    return found, others


def composition_error(error: Exception, words: list[str]) -> str | None:
    """A short message for a mistake in the command line that Hydra found; None for any other exception."""
    from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
    from omegaconf.errors import OmegaConfBaseException

    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, name = (error.missing_cfg_file or "").rpartition("/")
        if (group, name) in OF_EXTRAS:
            package, extra = OF_EXTRAS[group, name]
            return f"{group}={name} needs the package {package}, which is not installed; pip install 'mlbench[{extra}]'"
        own = [option for option in error.options if not option.startswith("_")]
        return f"{group}={name}: there is no such {group}{nearest(name, own)}\nthere are: {', '.join(own)}"
    if isinstance(error, OverrideParseException):
        return f"cannot understand '{error.override}'; settings are written name=value"
    if isinstance(error, ConfigCompositionException) and isinstance(error.__cause__, OmegaConfBaseException):
        return unknown_setting(error, words)
    if found := re.search(r"Ambiguous value for argument '([^']*)'", str(error)):
        return f"{found[1]}: several values are a sweep, which needs -m, as in mlbench -m {found[1]}"
    if isinstance(error, ValueError) and "Config group override" in str(error):
        groups = [f"{group}=" for group in GROUPS if any(word.startswith(f"{group}=") for word in words)]
        return f"{', '.join(groups)}: a name is needed, as mlbench list shows them; or leave it out"
    if isinstance(error, HydraException | OmegaConfBaseException):
        return re.sub(r"\s*\n\s*", "; ", str(error).strip())
    return None


def unknown_setting(error: Exception, words: list[str]) -> str:
    """The message for a setting that the composed config does not have (or not of that type)."""
    from hydra import compose, initialize_config_dir
    from omegaconf import DictConfig, OmegaConf

    wrong = re.search(r"[Cc]ould not override '([^']*)'", str(error))
    key = wrong.group(1) if wrong else (error.__cause__.full_key or "")
    parent, _, name = key.rpartition(".")
    groups = [word for word in words if word.partition("=")[0] in GROUPS and "," not in word]
    places = [json.dumps(f"file://{folder}", ensure_ascii=False) for folder in own_folders(words)[0]]  # in quotes
    groups += [f"hydra.searchpath=[{place}]" for place in places]
    try:
        with initialize_config_dir(config_dir=str(conf_folder()), version_base="1.3"):
            node = (
                OmegaConf.select(compose("config", overrides=groups), parent) if parent else compose("config", groups)
            )
        options = sorted(str(option) for option in node) if isinstance(node, DictConfig) else []
    except Exception:  # the message is worth having without the list, whatever else is wrong with the command
        options = []
    if parent in FAMILIES and not options:
        return f"{key}: no technique is chosen; {parent}=NAME does that (see mlbench list {parent})"
    if name in options:
        return f"{key}: a value of another kind is needed"
    allowed = f"\nallowed here: {', '.join(options)}" if options else ""
    return f"{key}: no such setting{nearest(name, options)}{allowed}"
