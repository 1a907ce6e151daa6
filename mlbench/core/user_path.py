"""Paths as users write them."""

from pathlib import Path


def user_path(text: str | Path) -> Path:
    """A path with `~` or `~name` at its start replaced by a home; as it is where nobody has that name, as in shells."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)
