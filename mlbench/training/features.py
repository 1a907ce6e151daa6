"""The features of a network: what goes into its last linear layer."""

from torch import Tensor, nn

from mlbench.models.surgery import last_linear
from mlbench.training.module_hooks import hooked


def features(net: nn.Module, x: Tensor) -> Tensor:
    """The features [B, D] of inputs x [B, ...], in the mode in which the network is.

    Raises ValueError for a network without a linear layer.
    """
    if (layer := last_linear(net)) is None:
        raise ValueError("the network has no linear layer, whose inputs would be its features")
    inputs: list[Tensor] = []
    with hooked([layer.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))]):
        net(x)
    return inputs[0]
