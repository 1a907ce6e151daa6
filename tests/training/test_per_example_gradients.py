import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mlbench.data.split import Batch
from mlbench.models.cnn import CNN
from mlbench.models.mlp import MLP
from mlbench.models.resnet import ResNet18
from mlbench.training.module_modes import eval_mode, group_statistics
from mlbench.training.per_example_gradients import group_gradients, linear_factors, squared_gradients
from mlbench.training.theta import Theta


class Twice(nn.Module):
    """A linear layer used twice: the closed form does not apply."""

    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.Linear(64, 64), nn.Linear(64, 3)

    def forward(self, x):
        return self.head(self.layer(self.layer(x.flatten(1)).relu()))


def frozen():
    net = MLP((1, 8, 8), 3, [7])
    net[1].weight.requires_grad_(False)
    return net


def frozen_first():
    net = MLP((1, 8, 8), 3, [7, 5])
    net[1].requires_grad_(False)
    return net


class Branching(nn.Module):
    """What is computed depends on numbers, in an `if` between layers that all run."""

    def __init__(self, first):
        super().__init__()
        self.first, self.second, self.head = first, nn.Linear(64, 64), nn.Linear(64, 3)

    def forward(self, x):
        x = self.first(x).flatten(1)
        x = self.second(x).relu() if x.sum() > 0 else self.second(x).tanh()
        return self.head(x)


class Skipped(nn.Module):
    """A layer that runs for some of the examples."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(64, 9), nn.Linear(9, 9), nn.Linear(9, 3)

    def forward(self, x):
        x = self.first(x.flatten(1))
        stay = x[:, 0] > 0
        return self.head(torch.where(stay[:, None], x.index_put((stay,), self.second(x[stay])), x))


class Rows(nn.Module):
    """The rows of all pictures lie below one another in front of the first layer."""

    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Linear(8, 5), nn.Linear(40, 3)

    def forward(self, x):
        return self.head(self.first(x.reshape(-1, 8)).relu().reshape(-1, 40))


def in_place():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 9), nn.ReLU(inplace=True), nn.Linear(9, 3))


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(64, 64), nn.Linear(64, 64)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(self.first(x.flatten(1)).relu())


class Again(nn.Module):
    """A layer whose weight is used a second time without it."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 64)

    def forward(self, x):
        x = self.layer(x.flatten(1)).relu()
        return x + F.linear(x, self.layer.weight)


def normed(norm):
    return nn.Sequential(nn.Flatten(), norm(nn.Linear(64, 9)), nn.ReLU(), nn.Linear(9, 3))


NETS = {
    "tied": Tied,
    "used again": Again,
    "spectral norm": lambda: normed(nn.utils.spectral_norm),
    "spectral norm as a parametrization": lambda: normed(nn.utils.parametrizations.spectral_norm),
    "weight norm as a parametrization": lambda: normed(nn.utils.parametrizations.weight_norm),
    "in place": in_place,
    "mlp": lambda: MLP((1, 8, 8), 3, [7, 5]),
    "frozen": frozen,
    "frozen first": frozen_first,
    "branching": lambda: Branching(nn.Identity()),
    "branching behind a convolution": lambda: Branching(nn.Conv2d(1, 1, 3, padding=1)),
    "skipped": Skipped,
    "rows": Rows,
    "twice": Twice,
    "batch norm without parameters": lambda: normed(
        lambda layer: nn.Sequential(layer, nn.BatchNorm1d(9, affine=False))
    ),
    "cnn": lambda: CNN((1, 8, 8), 3, [4, 6]),
    "resnet": lambda: ResNet18((1, 8, 8), 3, 2),
}


@pytest.fixture(params=NETS)
def net(request):
    torch.manual_seed(0)
    return NETS[request.param]()


def logits(net, batch):
    return net(batch.x)


def batch(count):
    draws = torch.Generator().manual_seed(1)
    x = torch.randn(count, 1, 8, 8, generator=draws)
    return Batch(x, torch.randint(3, (count,), generator=draws), torch.zeros(count, dtype=torch.long))


def single(net, theta, x, y):
    parameters = list(theta.parameters.values())
    parts = torch.autograd.grad(F.cross_entropy(net(x), y), parameters, materialize_grads=True)
    return torch.cat([part.flatten() for part in parts])


def test_squared_gradients_are_the_mean_of_squares_of_single_backward_passes(net):
    theta, examples = Theta(net), batch(9)
    net.train()
    found = squared_gradients(
        net, theta, [Batch(*(p[:5] for p in examples)), Batch(*(p[5:] for p in examples))], logits
    )
    assert net.training
    net.eval()
    expected = torch.stack([single(net, theta, examples.x[i : i + 1], examples.y[i : i + 1]) for i in range(9)])
    torch.testing.assert_close(found, expected.square().mean(0), rtol=1e-4, atol=1e-8)
    of_the_mean = single(net, theta, examples.x, examples.y).square()
    assert found.sum() > 2 * of_the_mean.sum()  # the square of a batch's mean gradient is another, smaller thing


def test_group_gradients_are_those_of_each_group_alone(net):
    theta, examples, sizes = Theta(net), batch(9), [4, 2, 3]
    theta.grad.fill_(7.0)
    net.eval()
    found = group_gradients(net, theta, examples, sizes, logits, theta.value.new_zeros(3, theta.value.numel()))
    assert not any(module.training for module in net.modules())
    for module in net.modules():
        module.train(isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d))  # which normalises each group by itself
    for row, x, y in zip(found, examples.x.split(sizes), examples.y.split(sizes), strict=True):
        torch.testing.assert_close(row, single(net, theta, x, y), rtol=1e-4, atol=1e-7)
    assert (theta.grad == 7.0).all()


@pytest.mark.parametrize("name", NETS)
def test_closed_form_is_taken_only_where_it_holds(name):
    net = NETS[name]()
    theta, examples = Theta(net), batch(4)
    factors = linear_factors(net, theta, lambda: F.cross_entropy(net(examples.x), examples.y), 4)
    assert (factors is not None) == (name in ("mlp", "frozen", "frozen first"))


def test_batch_norm_statistics_do_not_move():
    net = NETS["cnn"]().train()
    before = {name: value.clone() for name, value in net.named_buffers()}
    theta = Theta(net)
    squared_gradients(net, theta, [batch(5)], logits)
    group_gradients(net, theta, batch(5), [2, 3], logits, theta.value.new_zeros(2, theta.value.numel()))
    assert all(torch.equal(value, before[name]) for name, value in net.named_buffers())
    assert all(module.training for module in net.modules())
    assert net[1].momentum == 0.1


@pytest.mark.parametrize("inside", [eval_mode, group_statistics])
def test_each_layer_gets_back_the_mode_it_had(inside):
    net = ResNet18((3, 8, 8), 3, 4).train()
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    norms[0].eval()  # as a method holds it that keeps statistics still
    before = [module.training for module in net.modules()]
    with inside(net):
        assert [module.training for module in net.modules() if module not in norms] == [False] * (
            len(before) - len(norms)
        )
        assert all(norm.training == (inside is group_statistics) for norm in norms)
    assert [module.training for module in net.modules()] == before
