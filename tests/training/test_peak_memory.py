"""The height of a computation's memory, against sums by hand."""

import pytest
import torch

from mlbench.explain.attribution.smoothgrad import SmoothGrad
from mlbench.models.cnn import CNN
from mlbench.training.peak_memory import peak_bytes
from tests.techniques import configured

CPU = torch.device("cpu")


def falling():
    """4,000 bytes, then 8,000, then 4,000."""
    first = torch.zeros(1000)
    second = first + 1
    del first
    return second


def with_views():
    """Views and changes in place take nothing."""
    tensor = torch.zeros(10, 100)
    return tensor.add_(1).view(-1)[5:].t()


def differentiated():
    """What the backward pass needs is held until it is over: exp's result, then its gradient too."""
    x = torch.zeros(1000, requires_grad=True)  # 4,000
    y = x.exp().sum()  # 8,004
    return torch.autograd.grad(y, x)  # the gradient of y, 4, and of x, 4,000


@pytest.mark.parametrize(
    ("compute", "peak"),
    [
        (falling, 8000),
        (with_views, 4000),
        (differentiated, 12_008),
        (lambda: torch.zeros(1000, dtype=torch.int8), 1000),
        (lambda: None, 0),
    ],
)
def test_peak_by_hand(compute, peak):
    assert peak_bytes(compute, CPU) == peak


def test_what_was_there_before_does_not_count():
    held = torch.zeros(1000)
    assert peak_bytes(lambda: held.view(10, 100), CPU) == 0
    assert peak_bytes(lambda: held + 1, CPU) == 4000


def test_smoothgrad_takes_no_more_memory_for_more_copies():
    net, x, target = CNN((1, 8, 8), 3, [4]).eval(), torch.randn(8, 1, 8, 8), torch.zeros(8, dtype=torch.int64)

    def peak(copies):
        method = configured(SmoothGrad, copies=copies)
        method.generator = torch.Generator()
        return peak_bytes(lambda: method.maps(net, x, target), CPU)

    assert peak(160) == peak(80) < 1.1 * peak(16)  # 8 copies of 8 pictures at once
