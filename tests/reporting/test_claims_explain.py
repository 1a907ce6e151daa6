"""The checks of claims about explanations, on numbers written by hand."""

import pytest

from mlbench.reporting.claims import explain
from mlbench.reporting.claims.base import Runs, Verdict, combined_verdict
from mlbench.runs.run_record import RunRecord

MAPS = {
    "pointing": 0.9,
    "control_random_pointing": 0.1,
    "control_random_deletion_auc": 0.4,
    "deletion_auc": 0.2,
    "randomisation_abs_rho": 0.1,
}
PROBE = {
    "ambiguous_accuracy": 0.9,
    "ambiguous_lookup_accuracy": 0.6,
    "accuracy": 0.9,
    "untrained_ambiguous_accuracy": 0.6,
    "untrained_best_accuracy": 0.8,
    "majority_accuracy": 0.2,
    "selectivity": 0.4,
    "mlp_1000_selectivity": 0.1,
    "mlp_2_accuracy": 0.6,
}
MAXIMISED = {
    "raw_probability": 1.0,
    "real_probability": 1.0,
    "raw_total_variation": 0.6,
    "real_total_variation": 0.2,
    "raw_nearest_distance": 8.0,
    "real_nearest_distance": 2.0,
    "regularised_nearest_distance": 3.0,
    "regularised_total_variation": 0.2,
}
READABLE = {
    "network_accuracy": 0.99,
    "readable_tree_accuracy": 0.5,
    "linear_accuracy": 0.95,
    "forest_accuracy": 0.97,
    "tree_accuracy": 0.87,
    "forest_size": 9000,
    "tree_size": 100,
}
HEARD = {"top_digit": 0.95, "layer_0_speaker": 1.0, "top_speaker": 0.5, "top_untrained_speaker": 0.97}
MENDED = {"clean_accuracy_after": 0.9, "clean_accuracy_before": 0.7, "clean_accuracy_random": 0.8}
FILTERS = {"synthesised_activation": 0.8, "top_activation": 0.4, "random_activation": 0.1}
LAYERS = {"top_neighbours": 0.95, "layer_0_neighbours": 0.7, "top_untrained_neighbours": 0.6}


def runs(metrics, technique="saliency"):
    config = {"explain": {"hidden": [0, 2, 1000]}}
    return [
        RunRecord(None, {"technique": technique, "seed": s, "metrics": metrics, "costs": {}}, config) for s in range(3)
    ]


@pytest.mark.parametrize(
    ("decide", "metrics", "worse"),
    [
        (explain.pointing, MAPS, {"pointing": 0.2}),
        (explain.pointing, MAPS, {"deletion_auc": 0.4}),
        (explain.saliency, MAPS, {"randomisation_abs_rho": 0.9}),
        (explain.power_against_interpretability, READABLE, {"linear_accuracy": 0.99}),
        (explain.power_against_interpretability, READABLE, {"forest_accuracy": 0.88}),
        (explain.hidden_layers, LAYERS, {"top_untrained_neighbours": 0.9}),
        (explain.probing, PROBE, {"ambiguous_lookup_accuracy": 0.85}),
        (explain.probing, PROBE, {"untrained_ambiguous_accuracy": 0.85}),
        (explain.probing, PROBE, {"untrained_best_accuracy": 0.95}),
        (explain.probe_strength, PROBE, {"mlp_1000_selectivity": 0.4}),
        (explain.probe_strength, PROBE, {"mlp_2_accuracy": 0.9}),
        (explain.layer_hears, HEARD, {"top_speaker": 0.9}),
        (explain.layer_hears, HEARD, {"top_digit": 0.8}),
        (explain.raw_maximisation, MAXIMISED, {"raw_total_variation": 0.2}),
        (explain.raw_maximisation, MAXIMISED, {"raw_nearest_distance": 2.0}),
        (explain.regularised_maximisation, MAXIMISED, {"regularised_nearest_distance": 7.0}),
        (explain.regularised_maximisation, MAXIMISED, {"regularised_total_variation": 0.05}),
        (explain.regularised_maximisation, MAXIMISED, {"regularised_total_variation": 0.5}),
        (explain.find_and_mend, MENDED, {"clean_accuracy_after": 0.7}),
        (explain.find_and_mend, MENDED, {"clean_accuracy_random": 0.9}),
        (explain.filters, FILTERS, {"top_activation": 0.1}),
    ],
)
def test_a_claim_holds_and_one_worse_number_makes_it_fail(decide, metrics, worse):
    assert combined_verdict(decide(Runs(runs(metrics)))) is Verdict.HOLDS
    assert combined_verdict(decide(Runs(runs(metrics | worse)))) is Verdict.FAILS


@pytest.mark.parametrize(("share", "expected"), [(0.8, Verdict.HOLDS), (0.6, Verdict.FAILS)])
def test_smoothgrad_is_paired_with_saliency(share, expected):
    both = runs({"top25_share": share}, "smoothgrad") + runs({"top25_share": 0.6})
    assert combined_verdict(explain.smoothgrad(Runs(both))) is expected
