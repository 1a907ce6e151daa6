"""Symmetric relevance gain, on pictures whose evidence is known."""

import pytest
import torch
from torch import nn

from mlbench.core.statistics import spread
from mlbench.explain.attribution.relevance_gain import centre, differences, is_measured, painted_over, relevance_gains


class Corner(nn.Module):
    """Class 1 is as probable as the upper left corner is bright."""

    def forward(self, x):
        bright = 8 * x[:, :, :20, :20].mean((1, 2, 3)) - 4
        return torch.stack([torch.zeros_like(bright), bright], 1)


def pictures():
    x = torch.zeros(2, 3, 80, 80)
    x[:, :, :20, :20] = 1.0
    return x + 0.02 * torch.rand(x.shape, generator=torch.Generator().manual_seed(0))


def test_the_right_map_gains_the_opposite_loses_as_much_and_a_random_one_nothing():
    x, target = pictures(), torch.tensor([1, 1])
    truth = torch.zeros(2, 1, 80, 80)
    truth[:, :, :20, :20] = 1.0
    right, wrong = (relevance_gains(Corner(), x, target, maps, signed=True) for maps in (truth, -truth))
    assert (right > 0.3).all()
    torch.testing.assert_close(right, -wrong, atol=0.15, rtol=0)  # but for the order among equals
    noise = torch.randn(2, 1, 80, 80, generator=torch.Generator().manual_seed(1))
    assert relevance_gains(Corner(), x, target, noise, signed=True).abs().max() < right.min()
    assert (relevance_gains(Corner(), x, target, -truth, signed=False) == right).all()


def test_a_ranking_read_backwards_has_the_opposite_gain():
    x, target = pictures(), torch.tensor([1, 0])
    maps = torch.randn(2, 1, 80, 80, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    forwards, backwards = (relevance_gains(Corner(), x, target, each, signed=True) for each in (maps, -maps))
    torch.testing.assert_close(forwards, -backwards)


def test_hidden_pixels_are_painted_from_what_is_around_them():
    x = torch.linspace(0, 1, 16).expand(1, 2, 16, 16).contiguous()
    seen = torch.ones(1, 1, 16, 16, dtype=torch.bool)
    seen[:, :, :, 7:9] = False
    painted = painted_over(x, seen)
    assert torch.equal(painted[..., :7], x[..., :7])
    assert (painted - x).abs().max() < 0.08  # a slope goes on across a narrow gap
    nothing = painted_over(x, torch.zeros_like(seen))
    torch.testing.assert_close(nothing, x.mean((2, 3), keepdim=True).expand_as(x))
    one = torch.zeros_like(seen)
    one[..., 3, 5] = True
    torch.testing.assert_close(painted_over(x, one), x[..., 3:4, 5:6].expand_as(x))  # all there is to paint from


def test_differences_are_paired_and_the_centre_is_brightest_in_the_middle():
    gains = {"ours": torch.tensor([0.5, 0.7, 0.3]), "edges": torch.tensor([0.4, 0.5, 0.3])}
    (row,) = differences(gains, "ours")
    found = spread([0.1, 0.2, 0.0])
    assert row["control"] == "edges"
    assert row["difference"] == pytest.approx(found.mean)
    assert row["half_interval"] == pytest.approx(found.half, rel=1e-5)
    blob = centre(torch.zeros(2, 3, 81, 61))[0, 0]
    assert divmod(int(blob.argmax()), 61) == (40, 30)
    assert not is_measured(torch.zeros(1, 3, 64, 200))
