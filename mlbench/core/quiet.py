"""Silencing a library's logger while it does something that we know it warns about."""

import logging
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def errors_only(name: str) -> Generator[None]:
    """Let only errors through the logger called `name` while the context is active.

    Args:
        name: Name of the logger, for example `torch.utils._pytree`.
    """
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
