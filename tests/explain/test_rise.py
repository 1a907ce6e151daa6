"""RISE against the same estimate by numpy, and on a network whose evidence is known."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from mlbench.core.errors import SettingError
from mlbench.explain.attribution.rise import Rise
from tests.techniques import configured


def rise(**settings):
    method = configured(Rise, **settings)
    method.look(SimpleNamespace(generator=torch.Generator().manual_seed(0)))
    return method


class Corner(nn.Module):
    """Sure of class 1 as far as the upper left quarter is bright."""

    def forward(self, x):
        light = 4 * x[:, :, :8, :8].mean((1, 2, 3))
        return torch.stack([-light, light], 1)


def test_it_is_the_regression_of_the_probability_on_each_pixel():
    x, target = torch.rand(2, 1, 16, 16), torch.tensor([1, 0])
    found = rise(masks=50, cells=4).maps(Corner(), x, target)
    draws = rise(masks=50, cells=4)  # the same masks, in the same portions
    masks = torch.cat([draws.draw(32, 16, 16), draws.draw(18, 16, 16)])
    assert masks.min() >= 0
    assert masks.max() <= 1
    for number in range(2):
        shares = Corner()(x[number] * masks).softmax(1)[:, target[number]].double().numpy()
        for row, column in ((0, 0), (3, 12), (15, 7)):
            seen = masks[:, 0, row, column].double().numpy()
            slope = np.cov(seen, shares, bias=True)[0, 1] / np.var(seen)
            assert found[number, 0, row, column].item() == pytest.approx(slope, abs=1e-4)


def test_it_finds_the_evidence_and_speaks_for_one_class_against_the_other():
    x = torch.ones(1, 1, 16, 16)
    for_it, against = (rise(masks=400, cells=4).maps(Corner(), x, torch.tensor([k]))[0, 0] for k in (1, 0))
    inside, outside = for_it[:8, :8], for_it[8:, 8:]
    assert inside.mean() > 5 * outside.abs().mean()
    torch.testing.assert_close(for_it, -against, atol=1e-4, rtol=0)


def test_each_mask_shows_the_share_that_was_asked_for():
    masks = rise(seen=0.3).draw(300, 28, 28)
    assert masks.mean().item() == pytest.approx(0.3, abs=0.02)
    for wrong in ({"masks": 1}, {"cells": 1}, {"seen": 1.0}):
        with pytest.raises(SettingError):
            configured(Rise, **wrong)
