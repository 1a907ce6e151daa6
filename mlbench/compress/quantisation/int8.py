"""Linear layers with 8-bit integer weights."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from mlbench.compress.base import Context, Finetuned, Point, weights, weights_of
from mlbench.core.errors import UserError, need
from mlbench.core.quiet import errors_only
from mlbench.models import surgery
from mlbench.models.int8_linear import Int8Linear, rounded
from mlbench.models.surgery import computes_plainly, read_by_others


@dataclass
class Int8(Finetuned):
    """Symmetric int8 quantisation of linear layers by torchao, with a scale for each output and no calibration.

    The weights are quantised after training. With `finetune_epochs` above 0 there is a second point from
    quantisation-aware training (Jacob et al. 2018): quantised in the forward pass, with gradients straight through the
    rounding. Convolutions, biases, batch norm and attention stay in single precision: torchao has no int8 convolution,
    and attention reads the weights of its layers.

    Args:
        mode: `dynamic`: inputs are quantised too, each example by its own range, and the products are of integers.
            `weight_only`: the products are of floats, so only the artefact is smaller.
    """

    yields_weights = False  # integers cannot be trained

    mode: Literal["dynamic", "weight_only"]

    def changed(self, net: nn.Module) -> dict[str, nn.Parameter]:
        """The weights of the linear layers that become int8 ones."""
        return weights_of(net, linear_layers(net))

    def check(self, net: nn.Module) -> None:
        """Raise UserError without a linear layer or without torchao."""
        if not linear_layers(net):
            raise UserError("compress=int8 quantises linear layers, and this network has none; take another model")
        need_torchao()

    def compress(self, dense: Point, context: Context) -> Iterator[Point]:
        """Yield the quantised network, and the one quantised after quantisation-aware training."""
        dynamic = self.mode == "dynamic"
        net = copy.deepcopy(dense.net) if self.finetune_epochs else dense.net
        yield replace(dense, stage="int8", net=quantised(net, dynamic))
        if self.finetune_epochs:
            with fake_quantisation(dense.net, dynamic):
                self.finetune(dense.net, context, "int8")
            yield replace(dense, stage="int8_trained", net=quantised(dense.net, dynamic))


def need_torchao() -> None:
    """Import torchao, which takes seconds. Raises UserError where it is not installed."""
    with errors_only("torch.utils._pytree"):  # torchao registers enums in a deprecated way
        need("torchao.prototype.qat", "compress", "compress=int8")  # which imports everything used here


def linear_layers(net: nn.Module) -> set[nn.Module]:
    """The linear layers that compute as torch's own do, and whose weights nobody else computes with."""
    own, inside = set(weights(net).values()), read_by_others(net)
    plain = (layer for layer in net.modules() if isinstance(layer, nn.Linear) and computes_plainly(layer))
    return {layer for layer in plain if layer.weight in own and layer not in inside}


def quantised(net: nn.Module, dynamic: bool) -> nn.Module:
    """Replace the linear layers of `net` by int8 ones, in place, and return it; `dynamic` quantises inputs too."""
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, Int8Tensor, Int8WeightOnlyConfig, quantize_
    from torchao.utils import should_reduce_range

    config = Int8WeightOnlyConfig(set_inductor_config=False)
    if dynamic:
        reduced = should_reduce_range(next(net.parameters()).device)
        config = Int8DynamicActivationInt8WeightConfig(set_inductor_config=False, reduce_range=reduced)
    chosen = linear_layers(net)
    quantize_(net, config, filter_fn=lambda layer, path: layer in chosen)  # noqa: ARG005
    layers = {path: m for path, m in net.named_modules() if isinstance(getattr(m, "weight", None), Int8Tensor)}
    for path, layer in layers.items():
        surgery.replace(net, path, int8_layer(layer))
    return net


def int8_layer(layer: nn.Linear) -> Int8Linear:
    """The equivalent of a linear layer whose weight torchao has quantised, without torchao's tensor class."""
    weight = layer.weight
    dynamic, reduced = weight.act_quant_kwargs is not None, bool(weight.reduce_range)
    converted = Int8Linear(layer.in_features, layer.out_features, dynamic, reduced, layer.bias is not None)
    converted.qdata.data, converted.scale.data, converted.bias = weight.qdata, weight.scale, layer.bias
    return converted.train(layer.training)


@contextmanager
def fake_quantisation(net: nn.Module, dynamic: bool) -> Iterator[None]:
    """Make the linear layers of `net` compute, in floats and with gradients, what those of `quantised` compute.

    Inputs are rounded by a hook, because torchao 0.18 has no training with symmetrically quantised inputs.
    """
    from torchao.quantization import quantize_
    from torchao.quantization.qat import IntxFakeQuantizeConfig, QATConfig
    from torchao.quantization.qat.linear import FakeQuantizedLinear

    weight, chosen = IntxFakeQuantizeConfig(torch.int8, "per_channel", is_symmetric=True), linear_layers(net)
    config = QATConfig(weight_config=weight, step="prepare")
    quantize_(net, config, filter_fn=lambda layer, path: layer in chosen)  # noqa: ARG005
    for layer in net.modules():
        if dynamic and isinstance(layer, FakeQuantizedLinear):
            layer.register_forward_pre_hook(round_inputs)
    try:
        yield
    finally:  # puts back ordinary layers, without the hooks
        quantize_(net, QATConfig(step="convert"))


def round_inputs(layer: nn.Module, inputs: tuple[Tensor]) -> Tensor:  # noqa: ARG001
    """Round the inputs [..., I] to what int8 can represent; the gradient passes straight through."""
    (x,) = inputs
    integers, scale = rounded(x.detach(), reduced=False)
    return x + (integers * scale - x.detach())
