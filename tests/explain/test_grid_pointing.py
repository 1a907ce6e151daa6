"""The grid pointing game, on a network whose evidence is known."""

import pytest
import torch
from torch import nn

from mlbench.explain.attribution.grid_pointing import can_be_played, draw_grids, of_classes, play, tiled
from mlbench.explain.attribution.input_x_gradient import InputXGradient
from mlbench.explain.attribution.occlusion import Occlusion
from mlbench.explain.attribution.rise import Rise

CELLS = 4
EDGES = lambda net, x, target: x.sum(1, keepdim=True)  # noqa: E731
SETTINGS = {"samples": 1, "images": None, "target": None}


class Brightness(nn.Module):
    """The logit of each class is the mean of the channel of its number."""

    def forward(self, x):
        return x.mean((2, 3))


def pictures(side=8):
    """Picture k has values in channel k alone."""
    torch.manual_seed(0)
    return torch.eye(CELLS)[:, :, None, None] * (1 + torch.rand(CELLS, 1, side, side))


@pytest.mark.parametrize("make", ["contributions", "constant", "edges"])
def test_the_evidence_of_each_class_is_in_its_own_cell_and_a_map_without_class_has_a_quarter(make):
    x, target = pictures(), torch.arange(CELLS)
    grids = torch.tensor([[2, 0, 3, 1], [0, 1, 2, 3]])
    if make == "contributions":
        rows = play(Brightness(), x, target, grids, InputXGradient(**SETTINGS).class_maps, amounts=True)
    else:
        maker = (
            (lambda net, x, target: x.sum(1, keepdim=True)) if make == "edges" else (lambda *_: torch.ones(1, 1, 8, 8))
        )
        rows = play(Brightness(), x, target, grids, of_classes(maker), amounts=True)
    for row in rows:
        assert row["pointing"] == pytest.approx(1 if make == "contributions" else 0.25)
        assert row["neighbour"] == pytest.approx(0 if make == "contributions" else 0.25)
        if make == "contributions":
            assert row["largest"] == 1


def test_sizes_of_gradients_count_where_signs_mean_nothing():
    x, target, grids = pictures(), torch.arange(CELLS), torch.tensor([[0, 1, 2, 3]])
    signs = lambda net, x, target: torch.where(x.sum(1, keepdim=True) > 1.5, 1.0, -1.0)  # noqa: E731
    (row,) = play(Brightness(), x, target, grids, of_classes(signs), amounts=False)
    assert row["pointing"] == pytest.approx(0.25)  # all sizes are 1


def test_a_grid_holds_the_pictures_at_half_the_size_row_by_row():
    x = pictures()
    grid = tiled(x)
    assert grid.shape == x.shape[1:]
    for place, (top, left) in enumerate([(0, 0), (0, 4), (4, 0), (4, 4)]):
        cell = grid[:, top : top + 4, left : left + 4]
        torch.testing.assert_close(cell, x[place].view(CELLS, 4, 2, 4, 2).mean((2, 4)))


def test_grids_have_four_different_classes():
    target = torch.tensor([5, 5, 1, 2, 3, 1])
    for places in draw_grids(target, torch.Generator().manual_seed(0)):
        assert len({int(target[place]) for place in places}) == CELLS
    large = torch.zeros(6, 3, 128, 128)
    assert can_be_played(large, target)
    assert not can_be_played(large, target.clamp(max=2))
    assert not can_be_played(large[..., :100], target)


@pytest.mark.parametrize("method", ["rise", "occlusion"])
def test_maps_of_several_classes_are_those_of_each(method):
    x, targets = pictures(), torch.tensor([[0, 1], [1, 2], [3, 0], [2, 2]])
    explain = Rise(**SETTINGS, masks=20, cells=3, seen=0.5) if method == "rise" else None
    explain = explain or Occlusion(**SETTINGS, patch=3, stride=2, segments=None)

    def seeded(make, *arguments):
        explain.generator = torch.Generator().manual_seed(1)
        return make(Brightness(), x, *arguments)

    both = seeded(explain.class_maps, targets)
    assert both.shape == (CELLS, 2, 1, 8, 8)
    for number in range(2):
        torch.testing.assert_close(both[:, number], seeded(explain.maps, targets[:, number]))
