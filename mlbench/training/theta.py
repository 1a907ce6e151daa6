"""The parameters of a network as one vector, and their gradients as another."""

import torch
from torch import Tensor, nn


class Theta:
    """All trainable parameters of a module in one contiguous tensor `value` [P], their gradients in `grad` [P].

    The module's own parameters become views into `value`, and their `.grad` views into `grad`: whatever autograd
    accumulates arrives in the vector, whatever is written to the vector is what the module computes with. Made
    after the module stands on its device and in its final structure; `.to()` and `load_state_dict(assign=True)`
    afterwards detach the views, which `check` finds out.

    With `channels_last`, the slices of convolution weights [O, I, H, W] are laid out [O, H, W, I] behind a permuted
    view, the order in which convolutions are fastest.
    """

    def __init__(self, net: nn.Module, channels_last: bool = False):
        self.net = net
        self.parameters = {name: p for name, p in net.named_parameters() if p.requires_grad}
        if not self.parameters:
            raise ValueError("the network has no trainable parameters")
        self.layout: dict[str, slice] = {}
        self.branches: bool | None = None  # whether what the network computes depends on numbers; None: not known yet
        self.channels_last = channels_last
        first = next(iter(self.parameters.values()))
        size = sum(p.numel() for p in self.parameters.values())
        self.value = torch.empty(size, dtype=first.dtype, device=first.device)  # [P]
        self.grad = torch.zeros_like(self.value)  # [P]
        start = 0
        for name, parameter in self.parameters.items():
            self.layout[name] = slice(start, start + parameter.numel())
            start += parameter.numel()
        for name, view in self.named(self.value).items():
            view.copy_(self.parameters[name].detach())
            self.parameters[name].data = view
        for name, view in self.named(self.grad).items():
            self.parameters[name].grad = view

    def named(self, vector: Tensor) -> dict[str, Tensor]:
        """The vector [..., P] as views by parameter name, each in its parameter's shape behind the leading ones."""
        return {
            name: self._shaped(vector[..., self.layout[name]], parameter.shape)
            for name, parameter in self.parameters.items()
        }

    def _shaped(self, piece: Tensor, shape: torch.Size) -> Tensor:
        if self.channels_last and len(shape) == 4:
            outputs, inputs, height, width = shape
            return piece.unflatten(-1, (outputs, height, width, inputs)).movedim(-1, -3)
        return piece.unflatten(-1, shape) if shape else piece.squeeze(-1)

    def zeros(self) -> Tensor:
        """A vector [P] of zeros."""
        return torch.zeros_like(self.value)

    def copy(self) -> Tensor:
        """The present parameters [P], cloned."""
        return self.value.clone()

    def check(self) -> None:
        """Raise RuntimeError if a parameter or its gradient no longer lies in the vector."""
        present = dict(self.net.named_parameters())
        for vector, member in ((self.value, "data"), (self.grad, "grad")):
            for name, view in self.named(vector).items():
                held = getattr(present[name], member)
                if held is None or held.data_ptr() != view.data_ptr():
                    raise RuntimeError(f"{name}.{member} is no longer a view into theta; was the network moved?")
