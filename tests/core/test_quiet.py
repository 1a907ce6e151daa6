"""A logger that is silenced for a while."""

import logging

from mlbench.core.quiet import errors_only


def test_only_errors_pass_inside_and_the_level_is_restored(caplog):
    logger = logging.getLogger("mlbench.test.quiet")
    logger.setLevel(logging.INFO)
    with errors_only(logger.name):
        logger.warning("hidden")
        logger.error("shown")
    assert [record.message for record in caplog.records] == ["shown"]
    assert logger.level == logging.INFO
