"""Layer-wise relevance propagation: the logit is handed back, layer by layer, to what contributed to it."""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from mlbench.core.errors import UserError, need, require
from mlbench.explain.attribution.inference_copy import agree
from mlbench.explain.attribution.relevance_layers import ACTIVATIONS, AFFINE, AVERAGES, CONVOLUTIONS, relevance_layers
from mlbench.explain.base import Attribution, Context
from mlbench.training.module_hooks import hooked

WHAT = "explain=lrp"


@dataclass
class LRP(Attribution):
    """Layer-wise relevance propagation (Bach et al. 2015, section 2.3), by zennit.

    Each layer hands the relevance of its outputs to its inputs, in proportion to what each contributed. The rules are
    the composite of Montavon et al. (2019, section 10.3): epsilon for linear layers (eq. 58 of Bach et al.), gamma for
    convolutions, for negative inputs in the form of Andeol et al. (2021). Batch norm is folded into the convolution in
    front of it; elsewhere it is a linear layer. Sums and averages divide relevance by what each term adds, the maximum
    of a pooling gets all, and activations pass it on as it is.

    The map adds up to the logit, less what biases take and `epsilon` absorbs; with gamma 0, epsilon near 0 and one rule
    for `all` it is input times gradient in a network of ReLUs. That activations which are no ReLU pass relevance on is
    a convention. Attention, gates and layer norm have no rule here, and networks with them are refused.

    Args:
        gamma: How much more positive contributions to a convolution count; 0 for the epsilon rule.
        epsilon: Added to the size of each denominator.
        first: The rule of the first layer: that of `all` others, `box` for values between black and white (z^B,
            Montavon et al. 2017), or `flat`, the same for all pixels that a unit sees (Lapuschkin et al. 2019). The
            last two give nothing to biases.
    """

    gamma: float
    epsilon: float
    first: Literal["all", "box", "flat"]

    def __post_init__(self):
        super().__post_init__()
        require(self.gamma >= 0, "gamma", self.gamma, "0 or more")
        require(self.epsilon > 0, "epsilon", self.epsilon, "above 0, as 1e-6")

    def check(self, net: nn.Module) -> None:  # noqa: ARG002
        """Raise UserError unless zennit is installed."""
        need("zennit.rules", "explain", WHAT)

    def rehearse(self, net: nn.Module, x: Tensor) -> None:
        """Raise UserError unless there are rules for all that the network does."""
        if not agree(relevance_layers(net, WHAT), net, x):
            raise UserError(f"{WHAT}: the network does something that torch.fx does not see")

    def look(self, context: Context) -> None:
        """Read the least and the largest value that an input can have, [1, C, 1, 1] each."""
        ends = (torch.full_like(context.black, value) for value in context.task.modality.value_range)
        self.low, self.high = map(context.test.normalise, ends)

    def maps(self, net: nn.Module, x: Tensor, target: Tensor) -> Tensor:
        """[B, C, H, W]."""
        return self.class_maps(net, x, target[:, None])[:, 0]

    def class_maps(self, net: nn.Module, x: Tensor, targets: Tensor) -> Tensor:
        """[B, K, C, H, W]; one pass forward serves all classes."""
        from zennit.core import Composite

        layers, x = relevance_layers(net, WHAT).requires_grad_(False), x.detach().requires_grad_()
        rules = self.rules(layers, x)
        with Composite(lambda context, path, layer: rules.get(path)).context(layers), torch.enable_grad():  # noqa: ARG005
            logits = layers(x).gather(1, targets)  # [B, K]
            maps = [
                torch.autograd.grad(chosen, x, chosen.detach(), retain_graph=True)[0] for chosen in logits.unbind(1)
            ]
        return torch.stack(maps, 1)

    def rules(self, layers: GraphModule, x: Tensor) -> dict[str, Any]:
        """Path -> zennit's hook of each layer that needs one, for inputs like `x` [B, C, H, W]."""
        from zennit.rules import Epsilon, Flat, Gamma, Norm, Pass, ZBox

        kinds = {
            CONVOLUTIONS: Gamma(self.gamma, self.epsilon),
            AFFINE: Epsilon(self.epsilon),
            AVERAGES: Norm(self.epsilon),
            ACTIVATIONS: Pass(),
        }
        paths = [node.target for node in layers.graph.nodes if node.op == "call_module"]
        found = {path: layers.get_submodule(path) for path in paths}
        rules = {path: rule for path in paths for kind, rule in kinds.items() if isinstance(found[path], kind)}
        first = next((path for path in paths if isinstance(found[path], CONVOLUTIONS + AFFINE)), None)
        if first is not None and self.first == "flat":
            rules[first] = Flat(self.epsilon)
        if first is not None and self.first == "box":
            ends = [seen(layers, end.to(x).expand_as(x[:1]), found[first]) for end in (self.low, self.high)]
            rules[first] = ZBox(*ends, self.epsilon)
        return rules


@torch.no_grad()
def seen(layers: nn.Module, x: Tensor, layer: nn.Module) -> Tensor:
    """What reaches the layer, flattened for example, when `x` goes through the network."""
    reached: list[Tensor] = []
    with hooked([layer.register_forward_pre_hook(lambda layer, inputs: reached.extend(inputs))]):  # noqa: ARG005
        layers(x)
    return reached[0]
