"""Context managers for the mode a network computes in: eval, or batch norm by the statistics of the batch at hand."""

from collections.abc import Generator, Iterable
from contextlib import contextmanager

from torch import nn

BatchNorm = nn.modules.batchnorm._BatchNorm  # of any number of dimensions


@contextmanager
def eval_mode(net: nn.Module) -> Generator[None]:
    """Put `net` in eval mode, and each of its modules back into its own mode on leaving."""
    with in_eval_mode(net.modules()):
        yield


@contextmanager
def in_eval_mode(modules: Iterable[nn.Module]) -> Generator[None]:
    """Put each of `modules` in eval mode, and back into its own mode on leaving."""
    training = [vars(module) for module in modules if module.training]  # past Module.__setattr__, which is slow
    for fields in training:
        fields["training"] = False
    try:
        yield
    finally:
        for fields in training:
            fields["training"] = True


def train_mode(net: nn.Module) -> None:
    """Put `net` in training mode but for what is frozen in it: modules none of whose parameters learn.

    Their batch norm keeps its statistics, and dropout inside them does nothing.
    """
    net.train()
    if all(parameter.requires_grad for parameter in net.parameters()):
        return
    for module in net.modules():
        if is_frozen(module):
            module.eval()


def is_frozen(module: nn.Module) -> bool:
    """Whether a module has parameters, none of which learns."""
    parameters = list(module.parameters())
    return bool(parameters) and not any(parameter.requires_grad for parameter in parameters)


@contextmanager
def batch_statistics(net: nn.Module, momentum: float | None) -> Generator[list[BatchNorm]]:
    """Normalise by the statistics of the batch at hand; everything but batch norm is in eval mode.

    Args:
        net: The network; its modes and its momenta are restored on leaving.
        momentum: Weight of each batch in the running statistics: 0 leaves them as they are, None makes them the
            plain mean over all batches since they were last reset.

    Yields:
        The batch norm layers that have running statistics.
    """
    modules = list(net.modules())
    norms = [m for m in modules if isinstance(m, BatchNorm) and m.track_running_stats]
    before = [norm.momentum for norm in norms]
    with in_eval_mode(modules):
        for norm in norms:
            norm.train()
            norm.momentum = momentum
        try:
            yield norms
        finally:
            for norm, own in zip(norms, before, strict=True):
                norm.eval()
                norm.momentum = own


@contextmanager
def group_statistics(net: nn.Module) -> Generator[None]:
    """Normalise by the statistics of the batch at hand and leave the running ones, and their count, as they were."""
    with batch_statistics(net, momentum=0.0) as norms:
        tracked = [norm.num_batches_tracked for norm in norms if norm.num_batches_tracked is not None]
        counts = [count.clone() for count in tracked]
        try:
            yield
        finally:
            for current, count in zip(tracked, counts, strict=True):
                current.copy_(count)


@contextmanager
def unfrozen(parameters: Iterable[nn.Parameter]) -> Generator[None]:
    """Let gradients reach those of `parameters` that are frozen, which are frozen again on leaving."""
    frozen = [parameter for parameter in parameters if not parameter.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(True)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)
            parameter.grad = None


def has_batch_norm(net: nn.Module) -> bool:
    """Whether any layer normalises by the statistics of a batch, which a single example does not have."""
    return any(isinstance(module, BatchNorm) for module in net.modules())
