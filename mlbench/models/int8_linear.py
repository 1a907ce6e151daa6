"""Linear layers with int8 weights, stored as plain tensors."""

import torch
from torch import Tensor, nn

TINY = torch.finfo(torch.float32).eps


def rounded(x: Tensor, reduced: bool) -> tuple[Tensor, Tensor]:
    """Quantise each row symmetrically, by its largest absolute value.

    Args:
        x: Real numbers, [..., n].
        reduced: Whether to use 7 bits instead of 8, for CPUs whose int8 arithmetic overflows otherwise (without VNNI).

    Returns:
        Integers int8 [..., n] and the scale of each row [..., 1]; their product approximates `x`.
    """
    low, high = (-64, 63) if reduced else (-128, 127)
    scale = x.abs().amax(-1, keepdim=True).div_((high - low) / 2).clamp_(min=TINY)
    return (x * scale.reciprocal()).round_().clamp_(low, high).to(torch.int8), scale


class Int8Linear(nn.Module):
    """A linear layer [..., I] -> [..., O] with int8 weights.

    On a CPU the outputs equal those of torchao's Int8Tensor bit for bit, in a tenth of its time for small layers, and
    loading an artefact does not need torchao. Other devices multiply the integers as floats, since CUDA's int8 product
    does not take every size. Gradients pass as if inputs were not rounded.

    Args:
        in_features: I.
        out_features: O.
        dynamic: Whether to quantise the inputs too, each example by its own range, and multiply integers; otherwise
            the weights are converted to floats in the forward pass.
        reduced: Whether inputs have 7 bits; see `rounded`.
        bias: Whether there is a bias.

    Attributes:
        qdata: Integer weights, int8 [O, I].
        scale: Scale of each output's weights, [O, 1].
    """

    def __init__(self, in_features: int, out_features: int, dynamic: bool, reduced: bool = False, bias: bool = True):
        super().__init__()
        self.in_features, self.out_features, self.dynamic, self.reduced = in_features, out_features, dynamic, reduced
        self.qdata = nn.Parameter(torch.zeros(out_features, in_features, dtype=torch.int8), requires_grad=False)
        self.scale = nn.Parameter(torch.empty(out_features, 1), requires_grad=False)
        nn.init.ones_(self.scale)
        self.bias = nn.Parameter(torch.zeros(out_features)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """The outputs [..., O], in the precision of `x` [..., I]."""
        rows = x.reshape(-1, self.in_features)
        product = self.integer_product(rows.detach()) if self.dynamic else rows @ self.qdata.t().to(x.dtype)
        if self.dynamic and rows.requires_grad:
            smooth = rows @ self.qdata.t().to(x.dtype)
            product = product + (smooth - smooth.detach())  # adds 0 to the value, and the gradient
        outputs = product * self.scale.flatten()
        if self.bias is not None:
            outputs += self.bias
        return outputs.reshape(*x.shape[:-1], self.out_features)

    def integer_product(self, rows: Tensor) -> Tensor:
        """Quantise rows [B, I] and multiply them by `qdata`: [B, O], without the scale of the weights."""
        integers, scale = rounded(rows, self.reduced)
        if rows.device.type == "cpu":
            return torch._int_mm(integers, self.qdata.t()) * scale
        return integers.to(rows.dtype) @ self.qdata.t().to(rows.dtype) * scale
