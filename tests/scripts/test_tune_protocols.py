"""The choice of settings for the manual's tables: as many trials for every method."""

import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture
def protocols(monkeypatch):
    """The script as a module."""
    pytest.importorskip("optuna")
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import tune_protocols

    yield tune_protocols
    sys.modules.pop("tune_protocols")


def test_every_method_has_as_many_trials_over_the_whole_range(protocols):
    for name, protocol in protocols.PROTOCOLS.items():
        for method in protocol.methods.split(","):
            trials = protocols.trials(name, method, 9)
            assert len({trial.key for trial in trials}) == 9
            rates = sorted(float(trial.settings[0].partition("=")[2]) for trial in trials)
            assert len(set(rates)) == 9
            assert rates[-1] / rates[0] > 10


def test_the_best_of_those_that_did_not_fail_is_chosen(protocols):
    trials = protocols.trials("split", "finetune", 3)
    values = ["0.5", "", "0.7"]
    rows = [
        {"protocol": "split", "method": "finetune", "settings": trial.key[2], "average_accuracy": value}
        for trial, value in zip(trials, values, strict=True)
    ]
    assert protocols.best(rows, trials) == [["split", "finetune", trials[2].key[2], 0.7, 3]]
