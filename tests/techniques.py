"""Techniques as their YAML describes them: tests give only the settings that they are about."""

from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

CONF = Path(__file__).parents[1] / "conf"
T = TypeVar("T")


def configured(cls: type[T], **settings: Any) -> T:
    """A technique with `settings`, and for the rest with what stands in the YAML that names its class."""
    return cls(**{**yaml_settings(cls), **settings})


@cache
def yaml_settings(cls: type) -> dict[str, Any]:
    """The settings in the YAML of `cls`, or of the class that it inherits from, without those that are objects."""
    for known in cls.__mro__:
        for path in CONF.glob("*/*.yaml"):
            if OmegaConf.load(path).get("_target_") == f"{known.__module__}.{known.__name__}":
                settings = composed(path.parent.name, path.stem)
                del settings["_target_"]
                return {name: value for name, value in settings.items() if not is_object(value)}
    raise LookupError(f"no YAML names {cls.__name__}")


def composed(family: str, name: str) -> dict[str, Any]:
    """All settings of the technique `family`=`name`, those that it inherits included."""
    with initialize_config_dir(str(CONF), version_base=None):
        return OmegaConf.to_container(compose("config", [f"{family}={name}"])[family])


def is_object(value: Any) -> bool:
    """Whether it is built from a node of its own, or has to be given."""
    return value == "???" or (isinstance(value, dict) and "_target_" in value)
