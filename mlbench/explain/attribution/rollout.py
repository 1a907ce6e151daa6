"""Attention rollout: how much of each position attention carries to where the classifier reads."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mlbench.core.errors import UserError
from mlbench.data.modality import Pictures, Spectrograms, Tokens
from mlbench.explain.attribution.token_attribution import FromVectors
from mlbench.explain.base import Attribution

WHAT = "explain=rollout"
SOFTMAX = (torch.softmax, F.softmax, Tensor.softmax)


@dataclass
class Rollout(Attribution):
    """Attention rollout of transformers (Abnar & Zuidema 2020, section 3).

    A layer with the attention A, the mean over its heads, is taken to carry (A + I) / 2 from position to position, the
    identity for what passes by it; rows of A add up to 1, and so do these. Their product over all layers says how much
    of each input position is in each output position. The map is the mean of the rows that the classifier reads: those
    of the last layer at which the squared size of the logits has a gradient that is not 0, so that of the class token
    or those that are averaged. All are taken where none is read, as by a last layer whose weights are still 0.

    Nothing is negative, and no class is told from another: the map of a wrong class is the same, and the grid pointing
    game gives exactly 1/4. Nor do the classifier's own weights matter, so the first step of the randomisation test is
    failed. What layers other than attention do to a position is not seen.

    Patches of pictures are those that the last convolution before any attention gives, as in `Conv2d(3, D, 16, 16)`;
    positions in front of them, such as class tokens and registers, have no place in the picture and are left out, as
    are special pieces around a text. The map is upsampled bilinearly to the size of the picture.
    """

    modalities = (Pictures, Spectrograms, Tokens)

    def maps(self, net: nn.Module, x: Tensor, target: Tensor) -> Tensor:  # noqa: ARG002
        """[B, 1, H, W], 0 or more. Raises UserError for a network that there is no rollout for."""
        shares, grid = rollout(net, x)
        if isinstance(net, FromVectors):
            grid, start = x.shape[2:], net.before.shape[1]
        else:
            start = shares.shape[1] - (0 if grid is None else grid.numel())
        if grid is None or start < 0:
            raise UserError(f"{WHAT} needs patches that a convolution makes, one for each position of the attention")
        coarse = shares[:, start : start + grid.numel()].unflatten(1, grid)[:, None]
        return F.interpolate(coarse, x.shape[2:], mode="bilinear", align_corners=False)

    def class_maps(self, net: nn.Module, x: Tensor, targets: Tensor) -> Tensor:
        """[B, K, 1, H, W], the same for all classes."""
        maps = self.maps(net, x, targets[:, 0])
        return maps[:, None].expand(-1, targets.shape[1], *maps.shape[1:])


def rollout(net: nn.Module, x: Tensor) -> tuple[Tensor, torch.Size | None]:
    """How much of each position reaches what the classifier reads.

    Args:
        net: A transformer.
        x: Inputs [B, ...].

    Returns:
        Shares [B, n] that add up to 1, and the size [h, w] of the maps that become positions, where there are any.

    Raises:
        UserError: Where there is no attention between all of n positions of each input in all layers.
    """
    x = x.detach().requires_grad_()  # the weights may be frozen
    with torch.enable_grad(), SelfAttention() as seen:
        size = net(x).square().sum()
    if not seen.weights:
        raise UserError(
            f"{WHAT} needs a network with attention, as model=bert and vision transformers; none is seen here"
        )
    count = seen.weights[0].shape[-1]
    if odd := [list(each.shape) for each in seen.weights if each.shape != (len(x), count, count)]:
        allowed = f"between the same positions of an input in all layers, [{len(x)}, {count}, {count}] here"
        raise UserError(
            f"{WHAT} needs attention {allowed};\nthis network has one of {odd[0]}, as windows and pooling make"
        )
    (gradient,) = torch.autograd.grad(size, seen.last, materialize_grads=True)
    reads = gradient.movedim(seen.places, 1).flatten(2).any(2)  # [B, n]
    reads = (reads | ~reads.any(1, keepdim=True)).to(x.dtype)
    shares = reads / reads.sum(1, keepdim=True)
    for weights in reversed(seen.weights):
        shares = (shares + torch.einsum("bi,bij->bj", shares, weights)) / 2
    return shares, seen.grid


class SelfAttention(TorchFunctionMode):
    """Watches the functions that a network calls for attention.

    Attributes:
        weights: Those of each layer, the mean over its heads: [B, n, n].
        last: What the last attention gives, or its weights where the network computes them itself.
        places: The dimension of `last` that is the positions which attend.
        grid: The size [h, w] of the maps of the last convolution in front of all attention; None without one.
    """

    def __init__(self):
        super().__init__()
        self.weights: list[Tensor] = []
        self.grid: torch.Size | None = None

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
        """Call the function; where it is attention, call it again for its weights."""
        named = named or {}
        found = function(*arguments, **named)
        if function is torch.conv2d and not self.weights:
            self.grid = found.shape[2:]
        if function is F.multi_head_attention_forward:
            self.last, self.places = found[0], 0  # [n, B, D]
            named = {**named, "need_weights": True, "average_attn_weights": False}
            self.note(function(*arguments, **named)[1])
        if function is F.scaled_dot_product_attention:
            self.last, self.places = found, -2  # [B, heads, n, D]
            self.note(products(*arguments, **named))
        if function in SOFTMAX and found.dim() > 2 and found.shape[-1] == found.shape[-2]:
            self.last, self.places = found, -2  # [B, heads, n, n]
            self.note(found)
        return found

    def note(self, weights: Tensor) -> None:
        """Keep weights [B, ..., n, n]."""
        weights = weights.detach()
        self.weights.append(weights.reshape(len(weights), -1, *weights.shape[-2:]).mean(1))


@torch.no_grad()
def products(query: Tensor, key: Tensor, value: Tensor, *settings: Any, **named: Any) -> Tensor:  # noqa: ARG001
    """The weights [B, heads, n, n] of an attention, whatever its mask and scale: what it makes of the identity."""
    identity = torch.eye(key.shape[-2], dtype=key.dtype, device=key.device).expand(*key.shape[:-1], -1)
    return F.scaled_dot_product_attention(query, key, identity, *settings, **named)
