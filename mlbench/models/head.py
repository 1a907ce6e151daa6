"""The last layer of a network by itself, for training on what a frozen backbone gives."""

import copy

from torch import Tensor, nn

from mlbench.models.surgery import last_linear, path_of, put


class Head(nn.Module):
    """The last linear layer of a network under the path that it has there, from features [B, D] to logits [B, outputs].

    Its state has the names of the whole network's, so that the one can be read from the other.

    Args:
        net: The network.

    Raises:
        ValueError: For a network without a linear layer behind others.
    """

    def __init__(self, net: nn.Module):
        super().__init__()
        layer = last_linear(net)
        if layer is None or layer is net:
            raise ValueError("it has no linear layer behind others")
        self.path = path_of(net, layer)
        *parents, name = self.path.split(".")
        inner: nn.Module = self
        for parent in parents:
            inner.add_module(parent, nn.Module())
            inner = inner.get_submodule(parent)
        inner.add_module(name, layer)

    def forward(self, features: Tensor) -> Tensor:
        """See the class."""
        return self.get_submodule(self.path)(features)


def with_backbone(net: nn.Module, whole: nn.Module) -> nn.Module:
    """A module as it would be with a whole network in the place of each head in it.

    Args:
        net: A head, or a module with heads inside, such as a classifier by the features of one.
        whole: The network that the heads are of.

    Returns:
        A copy that shares its tensors with `net` and `whole`; `net` itself where there is no head.
    """
    if isinstance(net, Head):
        shared = {id(tensor): tensor for tensor in (*whole.parameters(), *whole.buffers())}
        network = copy.deepcopy(whole, shared)
        put(network, net.path, net.get_submodule(net.path))
        return network
    if not any(isinstance(module, Head) for module in net.modules()):
        return net
    around = copy.copy(net)
    around._modules = {name: with_backbone(child, whole) for name, child in net._modules.items()}
    return around
