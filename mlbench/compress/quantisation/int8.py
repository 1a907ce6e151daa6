"""Weights of eight bits."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from mlbench.compress.base import Finetuned, Point, Workbench, weights
from mlbench.core.errors import UserError, need
from mlbench.core.quiet import errors_only
from mlbench.models import surgery
from mlbench.models.int8_linear import Int8Linear, rounded


@dataclass
class Int8(Finetuned):
    """Linear layers in int8 by torchao: a scale for each output, symmetric, nothing calibrated.

    Weights are rounded to int8 after training. `dynamic` rounds each example's inputs to int8 as well when it comes,
    and multiplies whole numbers; `weight_only` multiplies floats, so only the file is smaller. With `finetune_epochs`
    there is a second point, trained further with the rounding in the forward pass and gradients straight through it
    (quantisation-aware training, Jacob et al. 2018), and rounded then. Convolutions, biases and batch norm stay in
    single precision: torchao has no int8 convolution. Raises UserError without torchao.
    """

    leaves_weights = False  # whole numbers cannot be trained

    mode: Literal["dynamic", "weight_only"]

    def check(self, net: nn.Module) -> None:
        """torchao must be there, and a linear layer. Raises UserError."""
        if not linear(net):
            raise UserError("compress=int8 quantises linear layers, and this network has none; take another model")
        need_torchao()

    def compress(self, dense: Point, bench: Workbench) -> Iterator[Point]:
        """The network rounded as it is, and rounded after training for it."""
        dynamic = self.mode == "dynamic"
        net = copy.deepcopy(dense.net) if self.finetune_epochs else dense.net
        yield replace(dense, stage="int8", net=quantised(net, dynamic))
        if self.finetune_epochs:
            with rounding(dense.net, dynamic):
                self.finetune(dense.net, bench, "int8")
            yield replace(dense, stage="int8_trained", net=quantised(dense.net, dynamic))


def need_torchao() -> None:
    """Import torchao, which takes seconds. Raises UserError where it is not installed."""
    with errors_only("torch.utils._pytree"):  # torchao registers enums in a way that torch deprecates
        need("torchao.prototype.qat", "compress", "compress=int8")  # imports all that is used here


def linear(net: nn.Module) -> set[nn.Module]:
    """The linear layers whose weights are their own."""
    own = set(weights(net).values())
    return {layer for layer in net.modules() if isinstance(layer, nn.Linear) and layer.weight in own}


def quantised(net: nn.Module, dynamic: bool) -> nn.Module:
    """`net` with int8 layers in place of its linear ones."""
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, Int8Tensor, Int8WeightOnlyConfig, quantize_
    from torchao.utils import should_reduce_range

    config = Int8WeightOnlyConfig(set_inductor_config=False)
    if dynamic:
        reduced = should_reduce_range(next(net.parameters()).device)
        config = Int8DynamicActivationInt8WeightConfig(set_inductor_config=False, reduce_range=reduced)
    chosen = linear(net)
    quantize_(net, config, filter_fn=lambda layer, path: layer in chosen)  # noqa: ARG005
    layers = {path: m for path, m in net.named_modules() if isinstance(getattr(m, "weight", None), Int8Tensor)}
    for path, layer in layers.items():
        surgery.replace(net, path, int8_layer(layer))
    return net


def int8_layer(layer: nn.Linear) -> Int8Linear:
    """The same as a linear layer whose weight torchao has quantised."""
    weight = layer.weight
    dynamic, reduced = weight.act_quant_kwargs is not None, bool(weight.reduce_range)
    made = Int8Linear(layer.in_features, layer.out_features, dynamic, reduced, layer.bias is not None)
    made.qdata.data, made.scale.data, made.bias = weight.qdata, weight.scale, layer.bias
    return made.train(layer.training)


@contextmanager
def rounding(net: nn.Module, dynamic: bool) -> Iterator[None]:
    """Inside, the linear layers of `net` round in the forward pass what `quantised` rounds, and have gradients.

    Inputs are rounded by a hook: torchao 0.18 cannot train with symmetric ones.
    """
    from torchao.quantization import quantize_
    from torchao.quantization.qat import IntxFakeQuantizeConfig, QATConfig
    from torchao.quantization.qat.linear import FakeQuantizedLinear

    weight, chosen = IntxFakeQuantizeConfig(torch.int8, "per_channel", is_symmetric=True), linear(net)
    config = QATConfig(weight_config=weight, step="prepare")
    quantize_(net, config, filter_fn=lambda layer, path: layer in chosen)  # noqa: ARG005
    for layer in net.modules():
        if dynamic and isinstance(layer, FakeQuantizedLinear):
            layer.register_forward_pre_hook(round_inputs)
    try:
        yield
    finally:  # puts fresh layers in their places, without hooks
        quantize_(net, QATConfig(step="convert"))


def round_inputs(layer: nn.Module, inputs: tuple[Tensor]) -> Tensor:  # noqa: ARG001
    """The input [..., I] as int8 gives it back; its gradient passes as if nothing had happened."""
    (x,) = inputs
    numbers, size = rounded(x.detach(), reduced=False)
    return x + (numbers * size - x.detach())
