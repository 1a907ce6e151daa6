"""The networks that runs share: each is trained once for what made it, and read from the cache ever after."""

import sys
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from mlbench.core.buildable import own_modules
from mlbench.core.renamed import published
from mlbench.data.stream import Task
from mlbench.experiment.checked_config import CheckedConfig
from mlbench.runs import cache
from mlbench.runs.checkpoint_file import read_tensors, write_tensors

NETWORK = ("data", "model", "seed", "precision", "deterministic")  # parts of the config that make a network
FOLDER = "store"  # below `out`


class NetworkCache:
    """Where the networks of a run are kept.

    Args:
        config: What makes a network.
        task: Its examples, which are hashed.
        device: Networks of different kinds of devices differ in their last digits.
        note: Shows a line.
    """

    def __init__(self, config: CheckedConfig, task: Task, device: torch.device, note: Callable[[str], None]):
        self.config, self.task, self.device, self.note = config, task, device, note

    def path(self, *parts: str, **besides: Any) -> Path:
        """The file for what these parts of the config, and `besides`, make.

        Classes count under their published names (core/renamed.py), so that a network is found again after its class
        has moved.
        """
        resolved = self.config.resolved()
        made_by = {name: resolved[name] for name in parts} | {"device": self.device.type, **besides}
        made_by["examples"] = self.examples
        if "model" in parts:
            made_by["source"] = source_of(resolved["model"]["_target_"], self.config.dirs)
        if self.pretrained:
            made_by["made_elsewhere"] = self.pretrained
        return cache.place(self.config.out / FOLDER, published(made_by))

    def usable(self, path: Path) -> bool:
        """Whether the file is there and may be used; with force=true that is one that the same command has made."""
        return cache.usable(path, self.config.command)

    def apply(self, path: Path, title: str, load: Callable[[], object], make: Callable[[], object]) -> None:
        """Call `load` where `path` is usable, else `make`, which writes it; no other process does so meanwhile."""
        if not self.usable(path):
            self.note(f"the network is trained once and kept as {path} ({title})")
        with cache.held(path):
            if self.usable(path):
                load()
            else:
                make()
                cache.sign(path, self.config.command)

    def tensors(self, title: str, make: Callable[[], dict[str, Any]], **made_by: Any) -> dict[str, Any]:
        """What `make` returns, tensors by name, made once for the run's data, seed, and `made_by`."""
        path = self.path("data", "seed", "deterministic", kind=title, **made_by)
        with cache.held(path):
            if not self.usable(path):
                self.note(f"the {title} is trained once and kept as {path}")
                write_tensors(path, make())
                cache.sign(path, self.config.command)
            return read_tensors(path)

    @cached_property
    def examples(self) -> list[str]:
        """Hashes of what there is to learn from."""
        return [split.digest() for split in (self.task.train, self.task.dropped) if split is not None]

    @cached_property
    def pretrained(self) -> list[list[list[str]]]:
        """Names and hashes of the files of weights and tokenizers that others have trained."""
        paths = self.config.pretrained_files()
        return [cache.contents(path, sorted(path.rglob("*")) or [path]) for path in paths]


def source_of(target: str, dirs: tuple[Path, ...]) -> list[list[list[str]]] | str:
    """Names and hashes of the user's own modules, any of which a class of their own may import; empty for others."""
    path = Path(sys.modules[target.rpartition(".")[0]].__file__).resolve()
    if not any(path.is_relative_to(folder.resolve()) for folder in dirs):
        return ""
    return [cache.contents(folder, own_modules(folder)) for folder in dirs]
