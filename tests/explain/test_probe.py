"""Probes against the same ones trained alone, and what stands beside them against counts by hand."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mlbench.core.errors import SettingError
from mlbench.data.properties import Items, Properties
from mlbench.data.split import Pool, Split
from mlbench.data.stream import Task
from mlbench.explain.representation.probe import Probe
from mlbench.explain.representation.probe_baselines import control, lookup, majority
from mlbench.explain.representation.probe_results import ProbeResults
from mlbench.explain.representation.probe_training import Mixes, Probes, Standardise, Targets, Together, answers
from mlbench.explain.representation.properties import properties_of, subset
from mlbench.training.compute import Compute
from mlbench.training.loop import fit
from mlbench.training.optimizer import Training
from tests.explain.test_activations import Tuples, split_of, text_task
from tests.explain.test_maximise import Studio
from tests.techniques import configured


def vectors_of(count=120, layers=2, width=3):
    torch.manual_seed(0)
    x = torch.randn(count, layers, width)
    rows = torch.arange(count)
    targets = torch.stack([x[:, 0].argmax(1), torch.randint(0, 3, (count,))], 1)
    return Split(Pool(x), rows, rows, 0, nn.Identity()), targets


@pytest.mark.parametrize("hidden", [0, 4])
def test_a_probe_learns_among_others_as_it_does_alone(hidden):
    split, targets = vectors_of()
    together = Together({"it": Probes(2, 2, 3, 3, hidden), "other": Probes(2, 2, 3, 3, 2), "mix": Mixes(2, 3, 3)})
    alone = Together({"it": Probes(1, 1, 3, 3, hidden)})
    which = 1 * 2 + 1  # the second target on the second layer
    for mine, theirs in zip(alone["it"].parameters(), together["it"].parameters(), strict=True):
        mine.data = theirs.data[which : which + 1].clone()
    training = Training(10, 16, "adamw", 0.03, 0.0, 0.0, "linear", "none", 0.0, 0)
    own = Split(Pool(split.pool.examples[:, 1:]), split.rows, split.labels, 0, nn.Identity())
    for net, data, wanted in ((together, split, targets), (alone, own, targets[:, 1:])):
        fit(net, data, Targets(wanted), training, Compute(), torch.Generator().manual_seed(0))
    for mine, theirs in zip(alone["it"].parameters(), together["it"].parameters(), strict=True):
        torch.testing.assert_close(mine[0], theirs[which])
    found = answers(together, split)["it"]
    assert found.shape == (2, 2, 120)
    assert torch.equal(answers(alone, own)["it"][0, 0], found[1, 1])
    assert (found[0, 0] == targets[:, 0]).double().mean() > 0.5  # and it has learned something


def test_probes_by_hand():
    probes, x = Probes(2, 3, 4, 5, 6), torch.randn(7, 3, 4)
    (first, second), (a, b) = probes.weights, probes.biases
    for target in range(2):
        for layer in range(3):
            place = target * 3 + layer
            expected = (x[:, layer] @ first[place] + a[place]).relu() @ second[place] + b[place]
            torch.testing.assert_close(probes(x)[target, layer], expected)


def test_a_mix_sees_no_layer_beyond_its_own():
    mix, x = Mixes(3, 4, 5), torch.randn(7, 6, 4)
    nn.init.normal_(mix.shares)
    changed = x.clone()
    changed[:, 2:] = 9.0
    assert torch.equal(mix(x)[0, :2], mix(changed)[0, :2])
    assert not torch.allclose(mix(x)[0, 2], mix(changed)[0, 2])
    shares = torch.softmax(mix.shares[1, :2], 0)
    expected = (shares[0] * x[:, 0] + shares[1] * x[:, 1]) @ mix.probes.weights[0][1] + mix.probes.biases[0][1]
    torch.testing.assert_close(mix(x)[0, 1], expected)


def test_vectors_are_standardised_as_in_training():
    x = torch.randn(50, 2, 3) * 4 + 7
    found = Standardise(x.half())(x[:9].half())
    expected = (x[:9] - x.mean(0)) / x.std(0)
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0)


def test_numbers_that_hardly_vary_stay_small():
    """A tenth of the standard deviation of all numbers together is the least that is divided by."""
    x = torch.randn(500, 2) * torch.tensor([10.0, 1e-3])
    found = Standardise(x)(x)
    least = 0.1 * x.std()
    torch.testing.assert_close(found[:, 1], (x[:, 1] - x[:, 1].mean()) / least)
    assert found[:, 0].std().item() == pytest.approx(1)


@pytest.mark.parametrize("hidden", [0, 50])
def test_probes_begin_as_linear_layers_do(hidden):
    """Evenly within the square root of the number of inputs, one over it."""
    probes = Probes(2, 3, 400, 60, hidden)
    for weight, inputs in zip(probes.weights, (400, 50), strict=False):
        assert weight.abs().max().item() == pytest.approx(inputs**-0.5, rel=0.02)


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

    def answers_of(property_right, control_right):
        rows = [[told(k, truth) for k in property_right], [told(k, nonsense) for k in control_right]]
        return torch.stack([torch.stack(row) for row in rows])

    found = {
        "validation": {"linear": answers_of([2, 7, 3, 1], [1, 1, 0, 0])},
        "test": {"linear": answers_of([9, 6, 2, 4], [3, 1, 0, 0])},
    }
    guess = (told(5, truth), torch.arange(10) >= 4)
    kept = {"paths": ["a", "b"], "hidden": [0], "predictions": found, "guess": guess, "often": 0, "weights": None}
    return ProbeResults(**{"targets": dict.fromkeys(found, targets), **kept, **changes})


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
    assert metrics["untrained_accuracy"] == 0.2
    assert metrics["selectivity"] == pytest.approx(0.5)


def test_expected_layer_and_centre_of_gravity_by_hand():
    truth = torch.arange(10) % 3
    mix = torch.stack([told(k, truth) for k in (4, 6, 9)])[None]
    found = {part: {"linear": torch.zeros(1, 6, 10).long(), "mix": mix} for part in ("validation", "test")}
    targets = dict.fromkeys(found, truth[:, None])
    weights = torch.tensor([0.2, 0.3, 0.5])
    parts = {"paths": ["a", "b", "c"], "targets": targets, "predictions": found, "guess": None, "weights": weights}
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
    settings = {"hidden": [0, 16], "epochs": 60, "lr": 0.03, "batch_size": 32}
    found = configured(Probe, property="piece", **settings).explain(net, context).metrics
    assert found["mlp_16_layer_0_accuracy"] > 0.8 > 0.5 > found["mlp_16_layer_1_accuracy"]  # blended with the neighbour
    assert found["lookup_accuracy"] == 1.0
    assert found["mlp_16_layer_0_control_accuracy"] > 0.6  # its forms are the pieces, which the layer holds
    found = configured(Probe, property="noise", **settings).explain(net, context).metrics
    assert found["accuracy"] < 0.65
    assert found["majority_accuracy"] > 0.45


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


def test_the_loss_is_the_sum_of_the_probes_own():
    split, targets = vectors_of()
    net, batch = Together({"it": Probes(2, 2, 3, 3, 0)}), split.batch(torch.arange(8))
    logits = net(batch.x)["it"]
    own = [F.cross_entropy(logits[t, k], targets[:8, t]) for t in range(2) for k in range(2)]
    torch.testing.assert_close(Targets(targets).loss(net, batch), sum(own))
