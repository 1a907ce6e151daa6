"""Short messages for mistakes in a command line; Hydra is imported only when there is one."""

import difflib
import itertools
import json
import re
from pathlib import Path

from mlbench.cli.suggestions import instead_of_choice
from mlbench.core.config_groups import FAMILIES, GROUPS, conf_folder
from mlbench.core.errors import UserError, nearest
from mlbench.core.user_path import user_path

OF_EXTRAS = {("hydra/launcher", "ray"): ("hydra-ray-launcher", "ray")}  # choices that another package brings


def own_folders(words: list[str]) -> tuple[list[str], list[str]]:
    """The absolute folders given by --config-dir or -cd, and the other words. Raises UserError for one not there."""
    folders, others, rest = [], [], iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if name in ("--config-dir", "-cd"):
            folder = user_path(value if equals else next(rest, ""))
            if not folder.is_dir():
                raise UserError(f"--config-dir {folder}: no such folder")
            folders.append(str(folder.resolve()))
        else:
            others.append(word)
    return folders, others


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
        folders = [Path(folder) for folder in own_folders(words)[0]]
        hint = instead_of_choice(group, name, own, folders)
        return f"{group}={name}: there is no such {group}{hint}\nthere are: {', '.join(own)}"
    if isinstance(error, OverrideParseException):
        return f"cannot understand '{error.override}'; settings are written name=value"
    if isinstance(error, ConfigCompositionException) and isinstance(error.__cause__, OmegaConfBaseException):
        return unknown_setting(error, words)
    if match := re.search(r"Ambiguous value for argument '([^']*)'", str(error)):
        return f"{match[1]}: several values are a sweep, which needs -m, as in mlbench -m {match[1]}"
    if isinstance(error, ValueError) and "Config group override" in str(error):
        groups = [f"{group}=" for group in GROUPS if any(word.startswith(f"{group}=") for word in words)]
        return f"{', '.join(groups)}: a name is needed, as mlbench list shows them; or leave it out"
    if isinstance(error, HydraException | OmegaConfBaseException):
        return re.sub(r"\s*\n\s*", "; ", str(error).strip())
    return None


def unknown_setting(error: Exception, words: list[str]) -> str:
    """The message for a setting that the composed config does not have (or not of that type), in a sweep over choices
    with the names of those that lack it."""
    wrong = re.search(r"[Cc]ould not override '([^']*)'", str(error))
    key = wrong.group(1) if wrong else (error.__cause__.full_key or "")
    parent, _, name = key.rpartition(".")
    try:
        settings = settings_there(parent, words)
    except Exception:  # the message is worth having without the list, whatever else is wrong with the command
        return f"{key}: no such setting"
    if parent in FAMILIES and not any(settings.values()):
        return f"{key}: no technique is chosen; {parent}=NAME does that (see mlbench list {parent})"
    lacking = {choice: options for choice, options in settings.items() if name not in options}
    if not lacking:
        return f"{key}: a value of another kind is needed"
    who = "" if len(lacking) == len(settings) else f"{', '.join(lacking)} {'has' if len(lacking) == 1 else 'have'} "
    options = sorted(set.intersection(*lacking.values()) - {"_target_"})
    allowed = f"\nallowed here: {', '.join(options)}" if options else ""
    known = sorted(set.union(*lacking.values(), set() if parent else set(GROUPS)))
    return f"{key}: {who}no such setting{elsewhere(key, words) or nearest(name, known)}{allowed}"


def elsewhere(key: str, words: list[str]) -> str:
    """For a setting that stands in the group of training, or in one whose name is spelled otherwise, the end of a
    message; else nothing."""
    parent, _, name = key.rpartition(".")
    if not parent:
        inside = set.union(*settings_there("train", words).values())
        return f"; did you mean 'train.{name}'?" if name in inside else ""
    if parent.partition(".")[0] in GROUPS or not (close := difflib.get_close_matches(parent, GROUPS, n=1)):
        return ""
    return f"; did you mean '{close[0]}.{name}'?"


def settings_there(parent: str, words: list[str]) -> dict[str, set[str]]:
    """The names of the settings in the node `parent` of the config, for each choice of its group or of the experiment
    that a sweep goes through; the one key is empty where it goes through none. Raises what Hydra does."""
    from hydra import compose, initialize_config_dir
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import DictConfig, OmegaConf

    fixed, swept = [], []
    for override in OverridesParser.create().parse_overrides([w for w in words if w.partition("=")[0] in GROUPS]):
        if not override.is_sweep_override():
            fixed.append(override.input_line)
        elif override.key_or_group in (parent.partition(".")[0], "experiment"):
            swept.append([f"{override.key_or_group}={name}" for name in override.sweep_string_iterator()])
    places = [json.dumps(f"file://{folder}", ensure_ascii=False) for folder in own_folders(words)[0]]  # in quotes
    fixed += [f"hydra.searchpath=[{place}]" for place in places]
    settings = {}
    with initialize_config_dir(config_dir=str(conf_folder()), version_base="1.3"):
        for choices in itertools.product(*swept):
            config = compose("config", overrides=[*fixed, *choices])
            node = OmegaConf.select(config, parent) if parent else config
            settings[" ".join(choices)] = set(map(str, node)) if isinstance(node, DictConfig) else set()
    return settings
