"""Config nodes from files: plain values, in which nothing is left to be resolved."""

from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mlbench.core.errors import UserError
from mlbench.core.input_files import check_plain

MOST_VALUES = 2**12  # of a node that describes a network in a file: some ten, and OmegaConf is slow


def plain_node(value: object, where: str, most: int = MOST_VALUES) -> DictConfig:
    """The config node of plain values that come from a file, in which nothing is left to be resolved.

    Args:
        value: Nested dicts and lists of plain values.
        where: What messages call it.
        most: How many values it may have.

    Raises:
        UserError: For what is no mapping of plain values, has more of them, or holds an interpolation, which could
            read the environment.
    """
    try:
        check_plain(value, most)
    except ValueError as error:
        raise UserError(f"{where} is not made of plain values ({error})") from error
    if not isinstance(value, dict):
        raise UserError(f"{where} is not a mapping of names and values")
    if found := next(interpolations(value), None):
        raise UserError(f"{where} holds the interpolation {found[0]}={found[1]}; none is resolved in a file")
    return OmegaConf.create(value)


def interpolations(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """(dotted name, text) of every text with an interpolation in nested dicts and lists."""
    if isinstance(value, str) and "${" in value:
        yield path, value
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in parts:
        yield from interpolations(part, f"{path}.{name}" if path else str(name))
