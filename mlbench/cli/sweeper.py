"""How the jobs of a sweep are made: every combination of the values on the command line."""

import functools
from collections.abc import Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override


class Grid(BasicSweeper):
    """Like Hydra's own, which composes all jobs before the first begins; here one of each kind is enough."""

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Compose jobs until each combination of entries of config groups, with the other settings, has been seen.

        Raises a HydraException where one cannot be composed. Values of other settings do not matter for that.
        """
        loader = self.hydra_context.config_loader
        parser = OverridesParser.create(config_loader=loader)

        @functools.cache
        def kind(word: str) -> str:
            override: Override = parser.parse_override(word)
            return word if loader.get_group_options(override.key_or_group) else override.get_key_element()

        kinds: dict[tuple[str, ...], Sequence[str]] = {}
        for job in batch:
            kinds.setdefault(tuple(map(kind, job)), job)
        super().validate_batch_is_legal(list(kinds.values()))
