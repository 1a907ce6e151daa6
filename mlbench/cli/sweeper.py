"""How the jobs of a sweep are made: every combination of the values on the command line."""

import functools
import pickle
from collections.abc import Sequence
from typing import Any, Self

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository, IConfigRepository
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.plugins.config_source import ConfigResult


class ConfigFiles(CachingConfigRepository):
    """Config files, each parsed once for all jobs of a sweep: YAML takes forty times as long as a copy of the result.

    Hydra's own keeps them for one job, which changes what it is given.
    """

    def __init__(self, delegate: IConfigRepository):
        super().__init__(delegate)
        self.parsed: dict[str, bytes] = {}  # path -> pickled ConfigResult

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Itself: Hydra wants a copy for each job as the search path may differ, which is the same in a sweep."""
        return self

    def load_config(self, config_path: str) -> ConfigResult | None:
        """A copy of the parsed file, or None where there is none."""
        if config_path not in self.parsed:
            self.parsed[config_path] = pickle.dumps(self.delegate.load_config(config_path))
        return pickle.loads(self.parsed[config_path])


class Grid(BasicSweeper):
    """Like Hydra's own, which composes all jobs before the first begins; here one of each kind is enough."""

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Compose jobs until each combination of entries of config groups, with the other settings, has been seen.

        Raises a HydraException where one cannot be composed. Values of other settings do not matter for that.
        """
        loader = self.hydra_context.config_loader
        if isinstance(loader, ConfigLoaderImpl) and not isinstance(loader.repository, ConfigFiles):
            loader.repository = ConfigFiles(loader.repository)
        parser = OverridesParser.create(config_loader=loader)

        @functools.cache
        def kind(word: str) -> str:
            override: Override = parser.parse_override(word)
            return word if loader.get_group_options(override.key_or_group) else override.get_key_element()

        kinds: dict[tuple[str, ...], Sequence[str]] = {}
        for job in batch:
            kinds.setdefault(tuple(map(kind, job)), job)
        super().validate_batch_is_legal(list(kinds.values()))
