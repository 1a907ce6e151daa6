"""Techniques as their YAML describes them: tests give only the settings that they are about."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch import Tensor, nn

from mlbench.explain.base import Maps
from mlbench.training.compute import Compute

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


@dataclass
class Late(Compute):
    """A device that works only when it is waited for, and `time` to whoever reads the clock there: in seconds."""

    clock: float = 0.0
    owed: float = 0.0

    def wait(self) -> None:
        """Do what is owed."""
        self.clock, self.owed = self.clock + self.owed, 0.0

    def perf_counter(self) -> float:
        """The time now."""
        return self.clock

    def slowly(self, maps: Maps) -> Maps:
        """The same maps, a second each."""

        def owing(net: nn.Module, x: Tensor, target: Tensor) -> Tensor:
            self.owed += len(x)
            return maps(net, x, target)

        return owing


def is_object(value: Any) -> bool:
    """Whether it is built from a node of its own, or has to be given."""
    return value == "???" or (isinstance(value, dict) and "_target_" in value)
