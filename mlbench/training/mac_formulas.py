"""The multiply-adds of torch's operators, from the shapes of what they take and give.

One multiply-add is one product that is added to a sum. Operators that only move, look up, compare, scale or add numbers
element by element have none: embeddings, normalisations, activations and pooling. Positions that a convolution pads and
those that a mask hides are computed, and counted.
"""

import math
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry

Formula = Callable[[tuple, dict[str, Any], Any], int]  # (arguments, named arguments, result) -> multiply-adds


def product(place: int) -> Formula:
    """Products of matrices or vectors whose left factor, [..., m, k], is the argument at `place`."""

    def macs(given: tuple, _: dict[str, Any], result: Tensor) -> int:
        left = given[place]
        if left.layout is not torch.strided:  # only what a sparse matrix holds is multiplied
            return left._nnz() * given[place + 1].shape[-1]
        return result.numel() * left.shape[-1]

    return macs


def summed_products(given: tuple, _: dict[str, Any], __: Tensor) -> int:
    """A sum of products of matrices [b, m, k] and [b, k, n]."""
    return given[1].numel() * given[2].shape[-1]


def convolution(given: tuple, _: dict[str, Any], result: Tensor) -> int:
    """Each weight meets each position of the output, or of the input where the convolution is transposed."""
    inputs, weight, transposed = given[0], given[1], given[6]
    positions = (inputs if transposed else result).shape[2:]
    return len(inputs) * math.prod(positions) * weight.numel()


def deformable_convolution(given: tuple, _: dict[str, Any], result: Tensor) -> int:
    """As many as a convolution has; where between the positions it reads is not counted."""
    return result.numel() * given[1][0].numel()


def attention(given: tuple, _: dict[str, Any], __: Any) -> int:
    """Queries [B, H, L, D] by keys [B, G, S, D], and their weights by values [B, G, S, E]."""
    query, key, value = given[:3]
    return query.shape[:-1].numel() * key.shape[-2] * (query.shape[-1] + value.shape[-1])


def recurrent_layer(given: tuple, _: dict[str, Any], __: Any) -> int:
    """One layer in one direction, inputs [T, B, I]: its two matrices at each step, without the products of gates."""
    steps = given[0].shape[:-1].numel()
    return steps * (given[1].numel() + given[2].numel())


def recurrent_network(given: tuple, _: dict[str, Any], __: Any) -> int:
    """All layers and directions, inputs [T, B, I] or packed [N, I], with a list of their matrices and biases."""
    steps = given[0].shape[:-1].numel()
    return steps * sum(weight.numel() for weight in given[1] if weight.dim() > 1)


def bilinear(given: tuple, _: dict[str, Any], __: Tensor) -> int:
    """Inputs [B, I] by weights [O, I, J], and each of these O x J by the other inputs [B, J]."""
    weight = given[1]
    return len(given[0]) * (weight.numel() + weight.shape[0] * weight.shape[2])


def from_torch(flops: Callable[..., int]) -> Formula:
    """A formula of torch, which counts a multiply-add as two operations."""
    return lambda given, named, result: flops(*given, **named, out_val=result) // 2


PRODUCTS = {"mm": 0, "bmm": 0, "mv": 0, "dot": 0, "vdot": 0, "_int_mm": 0, "_scaled_mm": 0, "_grouped_mm": 0}
PRODUCTS |= {"addmm": 1, "baddbmm": 1, "addmv": 1, "_addmm_activation": 1, "_weight_int8pack_mm": 0}
CONVOLUTIONS = ("convolution", "_convolution", "cudnn_convolution", "convolution_overrideable")
ATTENTIONS = ("flash_attention", "flash_attention_for_cpu", "efficient_attention", "cudnn_attention")
ATTENTIONS += ("fused_attention_overrideable",)
FORMULAS: dict[str, Formula] = {
    **{str(operator): from_torch(flops) for operator, flops in flop_registry.items()},
    **{f"aten.{name}": product(place) for name, place in PRODUCTS.items()},
    **{f"aten.{name}": convolution for name in CONVOLUTIONS},
    **{f"aten._scaled_dot_product_{name}": attention for name in ATTENTIONS},
    "aten.addbmm": summed_products,
    "aten.mkldnn_rnn_layer": recurrent_layer,
    "aten._cudnn_rnn": recurrent_network,
    "aten.miopen_rnn": recurrent_network,
    "aten._trilinear": bilinear,
    "torchvision.deform_conv2d": deformable_convolution,
}
KNOWN_SPACES = ("aten", "prim", "prims", "profiler")
FREE_VISION = re.compile(r"torchvision\.(nms|_?roi_(pool|align)|_?ps_roi_(pool|align))")
COSTLY = re.compile(r"mm$|matmul|attention|encoder_layer|conv|rnn|lstm|gru|cdist|euclidean|fft|mkldnn|linalg")
CHEAP = re.compile(
    r"_thnn|flatten_weight|mkldnn_(reshape|transpose|reorder|.*pool)|to_mkldnn|linalg_.*norm|linalg_check"
)


def formula(operator: str) -> Formula | None:
    """The formula of an operator, `aten.mm` for one, also in its form that changes its first argument."""
    return FORMULAS.get(operator) or FORMULAS.get(operator.removesuffix("_"))


def has_unknown_cost(operator: str) -> bool:
    """Whether an operator without a formula multiplies and adds, or may: one of another library."""
    if operator.partition(".")[0] not in KNOWN_SPACES:
        return not FREE_VISION.fullmatch(operator)
    return bool(COSTLY.search(operator)) and not CHEAP.search(operator)
