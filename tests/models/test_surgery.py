"""Changed layers: described as plain values, put back by them, and nothing of what they compute is lost."""

import copy
import json

import pytest
import torch
from torch import nn

from mlbench.models import mlp, surgery
from mlbench.models.cnn import CNN
from mlbench.models.int8_linear import Int8Linear


class Odd(nn.Linear):
    """A layer of somebody's own."""


def again(layer):
    """What comes back through a file's header."""
    return surgery.make(json.loads(json.dumps(surgery.describe(layer))))


def rebuilt(fresh, net):
    surgery.restore(fresh, json.loads(json.dumps(net.replaced)))
    fresh.load_state_dict(net.state_dict())
    return fresh.eval()


def cnn():
    torch.manual_seed(0)
    return CNN((1, 8, 8), 3, [4, 6]).eval()


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(3, 4),
        nn.Linear(3, 4, bias=False),
        nn.Conv1d(2, 4, 3, stride=2),
        nn.Conv2d(4, 6, (3, 1), 2, padding=(1, 0), bias=False),
        nn.Conv2d(4, 8, 3, padding="same", dilation=2, groups=4, padding_mode="reflect"),
        nn.BatchNorm1d(5),
        nn.BatchNorm2d(5, eps=0.001, momentum=0.01),
        nn.BatchNorm2d(5, affine=False),
        nn.BatchNorm2d(5, track_running_stats=False),
        nn.GroupNorm(2, 4),
        Int8Linear(3, 4, dynamic=False, reduced=True, bias=False),
        nn.LayerNorm(6, eps=1e-3),
        nn.LayerNorm([2, 6], bias=False),
        nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.Sequential(nn.Conv2d(4, 1, 1), nn.Conv2d(1, 2, 1))),
    ],
    ids=repr,
)
def test_descriptions_make_the_same_layer(layer):
    found = again(layer)
    assert repr(found) == repr(layer)
    assert {name: value.shape for name, value in found.state_dict().items()} == {
        name: value.shape for name, value in layer.state_dict().items()
    }


def test_a_layer_of_another_class_is_made_from_the_old_one_alone():
    layer = Odd(2, 3)
    description = surgery.describe(layer)
    found = surgery.make(description, Odd(2, 5))
    assert (type(found), found.out_features, found.weight.shape) == (Odd, 3, layer.weight.shape)
    with pytest.raises(ValueError, match="unknown kind of layer"):
        surgery.make(description)


def test_a_file_cannot_name_other_classes():
    with pytest.raises(ValueError, match="unknown kind of layer ReLU"):
        surgery.make({"kind": "ReLU"})


def test_a_class_named_like_a_layer_is_not_one():
    net = mlp.Linear((1, 2, 2), 3)
    assert list(surgery.layers(net)) == ["1"]
    surgery.note_sizes(net)
    assert list(net.replaced) == ["1"]


def test_sizes_changed_in_place_are_rebuilt():
    net, x = cnn(), torch.randn(2, 1, 8, 8)
    net[0], net[1], net[4] = nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2, eps=0.1), nn.Conv2d(2, 6, 3, padding=1)
    surgery.note_sizes(net)
    assert torch.equal(rebuilt(cnn(), net)(x), net.eval()(x))


def test_nested_layers_are_rebuilt():
    net, x = cnn(), torch.randn(2, 1, 8, 8)
    surgery.replace(net, "4", nn.Sequential(nn.Conv2d(4, 3, 3, padding=1), nn.Conv2d(3, 6, 1)))
    surgery.replace(net, "4.0", nn.Sequential(nn.Conv2d(4, 2, 3, padding=1), nn.Conv2d(2, 3, 1)))
    assert torch.equal(rebuilt(cnn(), net)(x), net.eval()(x))
    net[4][0] = nn.Sequential(nn.Conv2d(4, 1, 3, padding=1), nn.Conv2d(1, 3, 1))  # in place
    surgery.note_sizes(net)
    assert torch.equal(rebuilt(cnn(), net)(x), net.eval()(x))


def test_replacing_a_layer_drops_the_records_inside_it():
    net, x = cnn(), torch.randn(2, 1, 8, 8)
    surgery.replace(net, "4", nn.Sequential(nn.Conv2d(4, 3, 3, padding=1), nn.Conv2d(3, 6, 1)))
    surgery.replace(net, "4.1", nn.Sequential(nn.Conv2d(3, 2, 1), nn.Conv2d(2, 6, 1)))
    surgery.replace(net, "4", nn.Conv2d(4, 6, 1))
    assert list(net.replaced) == ["4"]
    assert torch.equal(rebuilt(cnn(), net)(x), net.eval()(x))


def test_records_belong_to_one_network():
    net = cnn()
    surgery.replace(net, "10", nn.Linear(6, 3, bias=False))
    other = copy.deepcopy(net)
    surgery.replace(other, "0", nn.Conv2d(1, 4, 1))
    assert list(net.replaced) == ["10"]
    assert not hasattr(cnn(), "replaced")


@pytest.mark.parametrize("path", ["11", "0.inner", "nowhere"])
def test_a_record_without_a_matching_layer_is_refused(path):
    with pytest.raises(AttributeError):
        surgery.restore(cnn(), {path: {"kind": "Linear", "in_features": 2, "out_features": 2}})
