"""The modes in which a network computes: training, eval, and batch norm by the statistics of the examples at hand."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def eval_mode(net: nn.Module) -> Iterator[None]:
    """Eval mode inside, the mode that was before outside."""
    with in_eval_mode(net.modules()):
        yield


@contextmanager
def in_eval_mode(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Each of `modules` in eval mode inside, in its own mode outside."""
    training = [vars(module) for module in modules if module.training]  # past Module.__setattr__, which is slow
    for fields in training:
        fields["training"] = False
    try:
        yield
    finally:
        for fields in training:
            fields["training"] = True


@contextmanager
def group_statistics(net: nn.Module) -> Iterator[None]:
    """Inside, batch norm normalises by the batch at hand and remembers nothing; everything else is in eval mode."""
    modules = list(net.modules())
    norms = [m for m in modules if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    before = [(norm.momentum, norm.num_batches_tracked.clone()) for norm in norms]
    with in_eval_mode(modules):
        for norm in norms:
            norm.train()
            norm.momentum = 0.0
        try:
            yield
        finally:
            for norm, (momentum, count) in zip(norms, before, strict=True):
                norm.eval()
                norm.momentum = momentum
                norm.num_batches_tracked.copy_(count)


def has_batch_norm(net: nn.Module) -> bool:
    """Whether any layer normalises by batch statistics, which a single example does not have."""
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in net.modules())
