"""Probes against scikit-learn's solutions, and what stands beside them against counts by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from torch import nn

from mlbench.core.errors import SettingError
from mlbench.data.properties import Items, Properties
from mlbench.data.stream import Task
from mlbench.explain.representation import logistic_regression
from mlbench.explain.representation.logistic_regression import DECAYS, chosen_solution, solution
from mlbench.explain.representation.probe import Probe
from mlbench.explain.representation.probe_baselines import control, lookup, majority
from mlbench.explain.representation.probe_results import Fit, ProbeResults
from mlbench.explain.representation.probe_training import Mix, Standardise, answers
from mlbench.explain.representation.properties import properties_of, subset
from tests.explain.test_activations import Tuples, split_of, text_task
from tests.explain.test_maximise import Studio
from tests.techniques import configured


def classified(count=300, width=6, values=4, seed=0):
    """Vectors whose values are linear in them, but for noise."""
    draws = torch.Generator().manual_seed(seed)
    x, truth = torch.randn(count, width, generator=draws), torch.randn(width, values, generator=draws)
    if seed:
        truth = torch.randn(width, values, generator=torch.Generator().manual_seed(99))
    noise = torch.randn(count, values, generator=draws)
    return x, (x @ truth + noise).argmax(1)


@pytest.mark.parametrize("decay", [1e-1, 1e-3, 0.0])
def test_a_linear_probe_is_the_solution_that_scikit_learn_finds(decay):
    (x, y), (other, _) = classified(), classified(2000, seed=1)
    probe = solution(x, y, 4, decay)
    assert probe.converged
    strength = {"C": 1 / (len(x) * decay)} if decay else {"C": np.inf}
    theirs = LogisticRegression(tol=1e-8, max_iter=10_000, **strength).fit(x.double().numpy(), y.numpy())
    assert (answers(probe, other).numpy() == theirs.predict(other.double().numpy())).mean() > 0.995
    mine = torch.softmax(probe(other), 1).numpy()
    np.testing.assert_allclose(mine, theirs.predict_proba(other.double().numpy()), atol=5e-3)


def test_the_penalty_of_a_linear_probe_is_chosen_on_development_data():
    development, test = classified(2000, 30, seed=1), classified(2000, 30, seed=2)
    few = (development[0][:200], development[1][:200])
    development = (development[0][200:], development[1][200:])
    chosen = chosen_solution(few, development, 4)
    place = DECAYS.index(chosen.decay)
    near = [solution(*few, 4, decay) for decay in DECAYS[place - 1 : place + 2]]
    losses = [F.cross_entropy(probe(development[0]), development[1]).item() for probe in near]
    assert losses[1] == min(losses)
    assert 0 < place < len(DECAYS) - 1
    free = solution(*few, 4, 0.0)
    right = [(answers(probe, test[0]) == test[1]).double().mean() for probe in (chosen, free)]
    assert right[0] > right[1]


def test_a_linear_probe_that_is_stopped_says_that_it_has_not_converged(monkeypatch):
    monkeypatch.setattr(logistic_regression, "STEPS", 2)
    probe = solution(*classified(), 4, 0.0)
    assert (probe.steps, probe.converged) == (2, False)


def test_a_mix_is_a_probe_on_a_weighed_sum():
    mix, x = Mix(2, 4, 5), torch.randn(7, 2, 4)
    nn.init.normal_(mix.shares)
    shares = torch.softmax(mix.shares, 0)
    torch.testing.assert_close(mix(x), mix.last(shares[0] * x[:, 0] + shares[1] * x[:, 1]))


def test_vectors_are_standardised_as_in_training():
    x = torch.randn(50, 2, 3) * 4 + 7
    standardise = Standardise(x.half())
    found = standardise(x[:9].half())
    expected = (x[:9] - x.mean(0)) / x.std(0)
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0)
    assert torch.equal(standardise.layers(x[:9].half(), 1), found[:, 1])
    assert torch.equal(standardise.layers(x[:9].half(), slice(0, 1)), found[:, :1])


def test_numbers_that_hardly_vary_stay_small():
    """A tenth of the standard deviation of all numbers together is the least that is divided by."""
    x = torch.randn(500, 2) * torch.tensor([10.0, 1e-3])
    found = Standardise(x)(x)
    least = 0.1 * x.std()
    torch.testing.assert_close(found[:, 1], (x[:, 1] - x[:, 1].mean()) / least)
    assert found[:, 0].std().item() == pytest.approx(1)


def test_maps_are_standardised_by_channels():
    x = torch.randn(50, 2, 3, 3) * torch.tensor([1.0, 5.0]).view(2, 1, 1) + torch.arange(9.0).view(3, 3)
    found = Standardise(x)(x)
    expected = (x - x.mean((0, 2, 3), keepdim=True)) / x.std((0, 2, 3), keepdim=True)
    torch.testing.assert_close(found, expected)


FORMS = torch.tensor([0, 0, 0, 1, 1, 2])
TAGS = torch.tensor([1, 1, 2, 2, 2, 0])


def items(forms, tags):
    return Items(torch.arange(len(forms)), {"tag": tags}, None, forms)


def test_lookup_by_hand():
    train = items(FORMS, TAGS)
    guess, ambiguous = lookup(train, items(torch.tensor([0, 1, 2, 3]), torch.zeros(4)), "tag", 3)
    assert guess.tolist() == [1, 2, 0, 2]  # form 3 is new: the most frequent value
    assert ambiguous.tolist() == [True, False, False, False]
    assert majority(train, "tag") == 2


@pytest.mark.parametrize(("others", "ambiguous"), [(1, False), (2, True)])
def test_a_form_is_ambiguous_where_no_value_has_nine_tenths(others, ambiguous):
    train = items(torch.zeros(10, dtype=torch.int64), torch.tensor([1] * (10 - others) + [0] * others))
    assert lookup(train, train, "tag", 2)[1].tolist() == [ambiguous] * 10


def test_the_control_task_gives_a_form_one_value_by_the_values_frequencies():
    tags = torch.tensor([0] * 70 + [1] * 30)
    train = items(torch.arange(100), tags)
    values = control(train, "tag", 20_000, 3, torch.Generator().manual_seed(0))
    shares = torch.bincount(values, minlength=3).double() / len(values)
    np.testing.assert_allclose(shares, [0.7, 0.3, 0.0], atol=0.02)
    again = control(train, "tag", 20_000, 3, torch.Generator().manual_seed(0))
    assert torch.equal(values, again)


def told(right, of):
    """Answers [n] of which the first `right` are what is asked."""
    return torch.cat([of[:right], of[right:] + 1])


def probed(**changes):
    """Two layers of two networks, ten items; the validation data prefer layer 1, the test data layer 0."""
    truth, nonsense = torch.arange(10) % 3, torch.arange(10) % 2
    targets = torch.stack([truth, nonsense], 1)

    right = {  # part -> how many are right for the property, and for the control task
        "validation": ([2, 7, 3, 1], [1, 7, 0, 0]),
        "test": ([9, 6, 2, 4], [3, 1, 0, 0]),
    }
    fits = [
        [
            fit({part: told(right[part][target][place], truth) for part in right}, converged=place != 3)
            for place in range(4)
        ]
        for target, truth in enumerate((truth, nonsense))
    ]
    guess = (told(5, truth), torch.arange(10) >= 4)
    kept = {"paths": ["a", "b"], "hidden": [0], "fits": {"linear": fits}, "guess": guess, "often": 0}
    return ProbeResults(**{"targets": dict.fromkeys(right, targets), **kept, **changes})


def fit(found, converged=True, shares=None):
    return Fit(found, 7, converged, 0.01, shares)


def test_numbers_by_hand():
    metrics = probed().results().metrics
    assert metrics["layer_0_accuracy"] == 0.9
    assert metrics["layer_1_control_accuracy"] == 0.1
    assert metrics["layer_1_selectivity"] == pytest.approx(0.5)
    assert metrics["layer_1_untrained_accuracy"] == 0.4
    assert metrics["layer_0_ambiguous_accuracy"] == pytest.approx(5 / 6)
    assert metrics["lookup_accuracy"] == 0.5
    assert metrics["ambiguous_lookup_accuracy"] == pytest.approx(1 / 6)
    assert metrics["ambiguous_share"] == 0.6
    assert metrics["majority_accuracy"] == 0.4


def test_rows_name_network_and_layer():
    rows = probed().results().tables["probes"]
    told = [(row["network"], row["layer"], row["path"], row["accuracy"]) for row in rows]
    assert told == [
        ("trained", 0, "a", 0.9), ("trained", 1, "b", 0.6), ("untrained", 0, "a", 0.2), ("untrained", 1, "b", 0.4),
    ]  # fmt: skip


def test_the_layer_is_chosen_on_validation_data_alone():
    metrics = probed().results().metrics
    assert metrics["best_layer"] == 1  # though the test data prefer layer 0
    assert metrics["accuracy"] == 0.6
    assert metrics["untrained_best_layer"] == 0
    assert metrics["untrained_best_accuracy"] == 0.2
    assert metrics["untrained_ambiguous_accuracy"] == 0.0


def test_all_numbers_of_a_probe_are_those_of_one_layer():
    """Layer 0 is more selective on validation data, layer 1 more accurate."""
    results = probed().results()
    row = next(row for row in results.tables["probes"] if (row["network"], row["layer"]) == ("trained", 1))
    for name in ("accuracy", "control_accuracy", "selectivity", "ambiguous_accuracy"):
        assert results.metrics[name] == row[name]
    assert results.metrics["untrained_accuracy"] == 0.4


def test_probes_that_have_not_converged_are_said():
    results = probed().results()
    assert results.metrics["unconverged_probes"] == 2
    assert [note.split(" have")[0] for note in results.notes] == ["2 of 8 probes"]
    rows = results.tables["probes"]
    assert [row["converged"] for row in rows] == [row["control_converged"] for row in rows] == [True] * 3 + [False]
    assert {row["steps"] for row in rows} == {7}
    assert not probed(fits={"linear": [row[:3] + row[:1] for row in probed().fits["linear"]]}).results().notes


def test_expected_layer_and_centre_of_gravity_by_hand():
    truth = torch.arange(10) % 3
    weights = torch.tensor([0.2, 0.3, 0.5])
    linear = [[fit(dict.fromkeys(("validation", "test"), truth)) for _ in range(6)]]
    mix = [[fit({"test": told(k, truth)}, shares=weights) for k in (4, 6, 9)]]
    targets = dict.fromkeys(("validation", "test"), truth[:, None])
    parts = {"paths": ["a", "b", "c"], "targets": targets, "fits": {"linear": linear, "mix": mix}, "guess": None}
    metrics = probed(**parts).results().metrics
    assert metrics["expected_layer"] == pytest.approx((1 * 0.2 + 2 * 0.3) / 0.5)
    assert metrics["centre_of_gravity"] == pytest.approx(0.3 + 2 * 0.5)
    assert "lookup_accuracy" not in metrics  # items without forms have none


def test_some_items_keep_their_order():
    chosen = subset(items(FORMS, TAGS), torch.tensor([4, 0, 3]))
    assert chosen.rows.tolist() == [0, 3, 4]
    assert chosen.labels["tag"].tolist() == [1, 2, 2]
    assert chosen.forms.tolist() == [0, 1, 1]


class Reading(Studio):
    """A workbench with texts: the piece itself is the property `piece`, in spans of one piece."""

    def __init__(self, net):
        super().__init__(net)
        draws = torch.Generator().manual_seed(0)
        ids = torch.randint(4, 20, (80, 6), generator=draws, dtype=torch.int32)
        self.task = text_task(ids)
        rows, places = torch.arange(80).repeat_interleave(6), torch.arange(6).repeat(80)
        piece = ids.flatten().long() - 4
        known = {"piece": piece, "noise": torch.randint(0, 2, (480,), generator=draws)}
        every = Items(rows, known, torch.stack([places, places + 1], 1), piece)
        train, held_out, test = (subset(every, torch.arange(480)[part::3]) for part in range(3))
        values = {"piece": [str(k) for k in range(16)], "noise": ["a", "b"]}
        self.task.properties, self.task.validation = Properties(values, train, test, held_out), split_of(ids)


def test_probes_detect_only_what_a_layer_represents():
    net = Tuples()
    nn.init.orthogonal_(net.table.weight)
    context = Reading(net)
    context.start = net
    settings = {"hidden": [0, 16], "epochs": 40, "lr": 0.03, "batch_size": 64, "mix": False}
    found = configured(Probe, property="piece", **settings).explain(net, context).metrics
    assert found["mlp_16_layer_0_accuracy"] > 0.8 > 0.5 > found["mlp_16_layer_1_accuracy"]  # blended with the neighbour
    assert found["lookup_accuracy"] == 1.0
    assert found["mlp_16_layer_0_control_accuracy"] > 0.6  # its forms are the pieces, which the layer holds
    found = configured(Probe, property="noise", **settings).explain(net, context).metrics
    assert found["accuracy"] < 0.65
    assert found["majority_accuracy"] > 0.45


def test_a_probe_with_hidden_units_is_the_one_of_its_best_epoch():
    """By its own development data: the same loop by hand, with the epoch of the lowest loss kept."""
    x, y = classified(200, 5)
    data = {part: (x[rows], y[rows]) for part, rows in (("train", slice(120)), ("validation", slice(120, 200)))}
    data["test"] = data["validation"]
    method = configured(Probe, hidden=[8], epochs=200, patience=4, lr=0.02, batch_size=40)
    made = method.fitted(Studio(Tuples()), data, 8, 4)
    assert made.converged
    assert made.steps % 3 == 0
    exact = made.steps // 3
    longer = replace(method, patience=30).fitted(Studio(Tuples()), data, 8, 4)
    shorter = replace(method, epochs=exact, patience=4).fitted(Studio(Tuples()), data, 8, 4)
    assert longer.steps >= made.steps
    assert shorter.steps == made.steps  # its last epoch was the best: it could have gone on
    assert not shorter.converged
    assert torch.equal(shorter.found["test"], made.found["test"])


@pytest.mark.parametrize("hidden", [0, 8])
def test_a_probe_of_few_items_ends_no_lower_than_the_most_frequent_value(hidden):
    """Forty items of ninety numbers that tell nothing: learned by heart they would be no better than chance."""
    draws = torch.Generator().manual_seed(0)
    x, y = torch.randn(1240, 90, generator=draws), (torch.rand(1240, generator=draws) > 0.8).long()
    data = {"train": (x[:40], y[:40]), "validation": (x[40:240], y[40:240]), "test": (x[240:], y[240:])}
    fit = configured(Probe, hidden=[hidden]).fitted(Studio(Tuples()), data, hidden, 2)
    often = (y[240:] == 0).double().mean()
    assert (fit.found["test"] == y[240:]).double().mean() > often - 0.02


def test_pictures_are_probed_for_their_class():
    split = split_of(torch.zeros(6, 1, 2, 2))
    known = properties_of(Task("", split, split), ["a", "b"])
    assert known.values == {"class": ["a", "b"]}
    assert known.train.forms is None


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"hidden": []}, "hidden"),
        ({"hidden": [0, 0]}, "hidden"),
        ({"hidden": [-1]}, "hidden"),
        ({"train_samples": 3}, "train_samples"),
        ({"epochs": 0}, "epochs"),
        ({"lr": 0.0}, "lr"),
        ({"patience": 0}, "patience"),
        ({"weight_decay": -1.0}, "weight_decay"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, named):
    with pytest.raises(SettingError, match=named):
        configured(Probe, **settings)


def test_a_property_that_the_data_does_not_know_is_refused():
    split = split_of(torch.zeros(6, 1, 2, 2))
    with pytest.raises(SettingError, match="property=upos: allowed is class"):
        configured(Probe, property="upos").check_data(Task("", split, split), ["a"])
