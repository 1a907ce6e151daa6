"""Which values of a config are settings: whatever two runs must share to be repetitions of one another. No torch."""

import json
from collections.abc import Container, Iterator
from typing import Any

from mlbench.core.config_groups import RUNNING
from mlbench.core.renamed import NEW_NAMES, translate_all, without_later_settings

# not a setting, and why not
NOT_SETTINGS = {
    **dict.fromkeys(RUNNING, "where and how fast a run is made, not what comes out"),
    "seed": "runs that differ only in their seed are repetitions of one setting",
    "data_dir": "where the data files lie",
    "keep": "which checkpoints stay",
    "export": "in which other forms compressed networks are written",
}
# not in the label of a sweep's job; a sweep over any other name, device included, has its values in the labels
NOT_IN_LABELS = ("seed", "out", "force", "logger")
# in these a run may differ from the joint run with which it is compared; the seed has to be the same
NOT_IN_JOINT_COMPARISON = ("lifelong", "reference", "reference_epochs", *RUNNING)


def with_current_targets(value: Any) -> Any:
    """A config (nested dicts and lists of plain values) with every `_target_` as it is spelled today."""
    return translate_all(value, NEW_NAMES)


def flatten(config: dict[str, Any], without: Container[str] = ()) -> dict[str, str]:
    """The values of a config that are not null, by their dotted names.

    Args:
        config: nested dicts of plain values.
        without: dotted names to leave out, with everything below them.

    Returns:
        Dotted name -> value: text as it is, anything else as JSON, a `_target_` as it is spelled today.
    """

    def leaves(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
        if value is None or prefix in without:
            return
        if isinstance(value, dict):
            for name, inner in value.items():
                yield from leaves(f"{prefix}.{name}" if prefix else str(name), inner)
        else:
            yield prefix, value if isinstance(value, str) else json.dumps(value, default=str)

    return dict(leaves("", without_later_settings(with_current_targets(config))))


def label_of(overrides: list[str]) -> str:
    """The label of a sweep's job: its overrides without those that are no settings."""
    return " ".join(item for item in overrides if item.partition("=")[0] not in NOT_IN_LABELS) or "default"


def joint_comparison_key(config: dict[str, Any]) -> str:
    """What a run and the joint run it is compared with must have in common."""
    config = without_later_settings(with_current_targets(config))
    return json.dumps({name: value for name, value in config.items() if name not in NOT_IN_JOINT_COMPARISON},
                      sort_keys=True)  # fmt: skip
