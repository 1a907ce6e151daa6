"""Linear layers with int8 weights, as plain tensors."""

import torch
from torch import Tensor, nn

TINY = torch.finfo(torch.float32).eps


def rounded(x: Tensor, reduced: bool) -> tuple[Tensor, Tensor]:
    """Whole numbers int8 [..., n] and the size [..., 1] of 1 in each row: symmetric, rows as wide as their extremes.

    `reduced` numbers have 7 bits: for CPUs whose int8 arithmetic overflows with 8 (those without VNNI).
    """
    low, high = (-64, 63) if reduced else (-128, 127)
    size = x.abs().amax(-1, keepdim=True).div_((high - low) / 2).clamp_(min=TINY)
    return (x * size.reciprocal()).round_().clamp_(low, high).to(torch.int8), size


class Int8Linear(nn.Module):
    """A linear layer [..., I] -> [..., O] with weights `qdata` int8 [O, I] and a `scale` [O, 1] for each output.

    If `dynamic`, each example is rounded to int8 when it comes, and the products are sums of whole numbers; otherwise
    weights become floats again on the way. Outputs are those of torchao's Int8Tensor, bit for bit on a CPU, in a tenth
    of its time for small layers, and reading a file does without torchao. Other devices multiply the whole numbers as
    floats, since CUDA's int8 product does not take every size. Gradients pass as if inputs were not rounded.
    """

    def __init__(self, in_features: int, out_features: int, dynamic: bool, reduced: bool = False, bias: bool = True):
        super().__init__()
        self.in_features, self.out_features, self.dynamic, self.reduced = in_features, out_features, dynamic, reduced
        self.qdata = nn.Parameter(torch.zeros(out_features, in_features, dtype=torch.int8), requires_grad=False)
        self.scale = nn.Parameter(torch.ones(out_features, 1), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(out_features)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """Outputs in the precision of `x`."""
        rows = x.reshape(-1, self.in_features)
        product = self.whole(rows.detach()) if self.dynamic else rows @ self.qdata.t().to(x.dtype)
        if self.dynamic and rows.requires_grad:
            smooth = rows @ self.qdata.t().to(x.dtype)
            product = product + (smooth - smooth.detach())  # which is 0, and has the gradient
        outputs = product * self.scale.flatten()
        if self.bias is not None:
            outputs += self.bias
        return outputs.reshape(*x.shape[:-1], self.out_features)

    def whole(self, rows: Tensor) -> Tensor:
        """Rounded rows [B, I] times `qdata`: [B, O], without the weights' scale."""
        numbers, size = rounded(rows, self.reduced)
        if rows.device.type == "cpu":
            return torch._int_mm(numbers, self.qdata.t()) * size
        return numbers.to(rows.dtype) @ self.qdata.t().to(rows.dtype) * size
