"""A network as layers that rules of relevance propagation exist for: every operation a module of its own."""

import copy
import operator

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from mlbench.core.errors import UserError, first_line
from mlbench.explain.attribution.inference_copy import traced, without_batch_norm


class Sum(nn.Module):
    """The sum over the last dimension, along which the terms are stacked."""

    def forward(self, terms: Tensor) -> Tensor:
        """[..., n] to [...]."""
        return terms.sum(-1)


class Mean(nn.Module):
    """The mean over dimensions, as Tensor.mean takes them."""

    def __init__(self, dim: int | list[int], keepdim: bool = False):
        super().__init__()
        self.dim, self.keepdim = dim, keepdim

    def forward(self, x: Tensor) -> Tensor:
        """A tensor without these dimensions, or with sides of 1 there."""
        return x.mean(self.dim, self.keepdim)


CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
AFFINE = (nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
AVERAGES = (Sum, Mean, nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d)
ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Hardswish, nn.Tanh)  # 0 for 0
ROUTES = (  # each output is one of the inputs, or 0: the gradient hands relevance on as it is
    nn.MaxPool1d, nn.MaxPool2d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.Flatten, nn.Unflatten, nn.Identity,
    nn.Dropout, nn.Dropout2d, nn.ZeroPad2d,
)  # fmt: skip
KNOWN = (*CONVOLUTIONS, *AFFINE, *AVERAGES, *ACTIVATIONS, *ROUTES)

SUMS = {operator.add, operator.iadd, torch.add, "add", "add_"}
MODULES = {  # what functions and methods are called as modules
    F.relu: nn.ReLU, torch.relu: nn.ReLU, "relu": nn.ReLU, F.relu6: nn.ReLU6, F.max_pool2d: nn.MaxPool2d,
    F.avg_pool2d: nn.AvgPool2d, F.adaptive_avg_pool2d: nn.AdaptiveAvgPool2d, torch.mean: Mean, "mean": Mean,
}  # fmt: skip
ROUTING = {  # functions and methods like ROUTES, and those that look at sizes
    "flatten", "view", "reshape", "permute", "transpose", "squeeze", "unsqueeze", "unflatten", "contiguous", "expand",
    "size", getattr, operator.getitem, torch.flatten, torch.cat, torch.permute, torch.transpose, F.dropout,
}  # fmt: skip


def relevance_layers(net: nn.Module, what: str) -> GraphModule:
    """A copy of `net` whose operations are modules that run once, with batch norm folded into convolutions.

    Args:
        net: The network, in eval mode.
        what: The method that asks, for messages.

    Raises:
        UserError: If the network cannot be traced, or does something that no rule is known for.
    """
    try:
        trace = traced(net)
    except Exception as error:  # whatever the forward of a user's network raises for a proxy in place of a picture
        raise UserError(f"{what}: torch.fx cannot follow what the network does ({first_line(error)})") from error
    layers = GraphModule(without_batch_norm(net, trace), trace.graph)
    nodes, calls = list(layers.graph.nodes), set()
    for node in nodes:
        if node.op == "call_module":
            module = layers.get_submodule(node.target)
            if not isinstance(module, KNOWN):
                raise UserError(f"{what} has no rule for {type(module).__name__}; {RULES}")
            if node.target in calls:
                call(layers, node, copy.deepcopy(module))
            calls.add(node.target)
    for node in nodes:
        if node.op in ("call_function", "call_method"):
            as_module(layers, node, what)
    layers.recompile()
    return layers


def as_module(layers: GraphModule, node: Node, what: str) -> None:
    """Make the call of a function or a method one of a module, where it is not ROUTING. Raises UserError."""
    terms = node.all_input_nodes
    if node.target in SUMS and len(node.args) == len(terms) == 2 and not node.kwargs:
        with layers.graph.inserting_before(node):
            node.args = (layers.graph.call_function(torch.stack, (list(terms), -1)),)
        call(layers, node, Sum())
    elif node.target in MODULES and len(terms) == 1:
        kind, (source, *settings) = MODULES[node.target], node.args
        call(layers, node, kind(*settings, **node.kwargs))
        node.args, node.kwargs = (source,), {}
    elif node.target not in ROUTING:
        name = getattr(node.target, "__name__", node.target)
        raise UserError(f"{what} has no rule for what the network computes by {name}; {RULES}")


def call(layers: GraphModule, node: Node, module: nn.Module) -> None:
    """Let the node call this module."""
    name = f"{node.name}_called"
    layers.add_submodule(name, module)
    node.op, node.target = "call_module", name


RULES = "there are rules for\nconvolutions, linear layers, batch norm, pooling, sums and activations such as ReLU"
