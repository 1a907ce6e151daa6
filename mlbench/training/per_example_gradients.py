"""Gradients of single examples and of groups of examples, which a plain backward pass adds up.

Networks whose trainable parameters all belong to linear layers have them in closed form: with the input a [B, I] of a
layer and the gradient d [B, O] at its output, the weight's gradient of example b is the outer product d_b a_b
(Goodfellow 2015). Squares of single gradients are then (d^2)^T (a^2), the gradient of a group is its part of d^T a.
Other networks take vmap for single examples, in eval mode, since a single example has no batch statistics, and one
backward pass a group, where batch norm uses the statistics of the group, as it does in training: under its running
averages, which lag behind small batches, the gradients of a residual network can be larger by orders of magnitude, and
GEM diverged on CIFAR-100. Neither moves the running averages. A network that vmap cannot follow, such as one that looks
at its numbers to decide what to compute, takes one backward pass an example.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.utils._python_dispatch import TorchDispatchMode

from mlbench.data.split import Batch
from mlbench.training.module_hooks import hooked
from mlbench.training.module_modes import eval_mode, group_statistics, has_batch_norm
from mlbench.training.theta import Theta

Logits = Callable[[nn.Module, Batch], Tensor]
Objective = Callable[[nn.Module, Batch], Tensor]  # a number for each example, [B]
VMAP_BYTES = 256 * 2**20  # for the gradients [b, P] of a chunk of single examples


def linear_factors(
    net: nn.Module, theta: Theta, loss: Callable[[], Tensor], count: int
) -> dict[nn.Linear, tuple[Tensor, Tensor]] | None:
    """For each linear layer that learns its input [B, I] and the gradient [B, O] of `loss()` at its output.

    None where the closed form does not apply: parameters that learn outside linear layers, or used elsewhere too (tied,
    or made into a weight as spectral_norm does), a layer used twice or not on [B, I], an input or output that is
    changed in place afterwards, a forward pass that looks at numbers, which are those of other examples too, or batch
    norm, even one without parameters: each group has its own statistics.
    """
    if has_batch_norm(net) or theta.branches:
        return None
    linear = [module for module in net.modules() if type(module) is nn.Linear]
    trained = {layer: [t for t in (layer.weight, layer.bias) if is_trained(t)] for layer in linear}
    owned = [id(tensor) for tensors in trained.values() for tensor in tensors]
    if sorted(owned) != sorted(map(id, theta.parameters.values())):
        return None
    layers = [layer for layer, tensors in trained.items() if tensors]
    seen: list[tuple[nn.Linear, Tensor, Tensor]] = []
    versions: list[tuple[Tensor, int]] = []

    def record(layer: nn.Linear, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen.append((layer, inputs[0], output))
        versions.extend((tensor, tensor._version) for tensor in (inputs[0], output))

    with hooked([layer.register_forward_hook(record) for layer in layers]):
        if theta.branches is None:
            with Looks() as looks:
                value = loss()
            theta.branches = looks.found
        else:
            value = loss()
    if theta.branches or len(seen) != len(layers) or len({layer for layer, _, _ in seen}) != len(layers):
        return None
    if any(inputs.ndim != 2 or len(inputs) != count for _, inputs, _ in seen):
        return None
    if any(tensor._version != version for tensor, version in versions):
        return None
    if max(uses(value).values(), default=0) > 1:
        return None
    deltas = torch.autograd.grad(value, [output for _, _, output in seen], materialize_grads=True)
    return {layer: (inputs.detach(), delta) for (layer, inputs, _), delta in zip(seen, deltas, strict=True)}


class Looks(TorchDispatchMode):
    """Notes in `found` whether numbers of tensors were looked at, as `if x.sum() > 0` and `x.max().item()` do."""

    def __init__(self):
        super().__init__()
        self.found = False

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        self.found |= func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def is_trained(tensor: Tensor | None) -> bool:
    """Whether it is a parameter that learns, and not one that is frozen, computed from others, or not there."""
    return isinstance(tensor, nn.Parameter) and tensor.requires_grad


def uses(value: Tensor) -> Counter[int]:
    """How often `value` was computed from each parameter, by its id: edges of the graph that end at one."""
    ahead = [value.grad_fn] if value.grad_fn is not None else []
    seen, found = set(ahead), Counter()
    while ahead:
        for node, _ in ahead.pop().next_functions:
            if hasattr(node, "variable"):
                found[id(node.variable)] += 1
            elif node is not None and node not in seen:
                seen.add(node)
                ahead.append(node)
    return found


def squared_gradients(net: nn.Module, theta: Theta, batches: Iterable[Batch], logits: Logits) -> Tensor:
    """The mean over all examples of their squared log-likelihood gradients, [P]: the diagonal of the Fisher matrix.

    The labels of the batches decide which one: the data's give the empirical, the model's own draws the true Fisher.
    """
    surprise = lambda net, batch: F.cross_entropy(logits(net, batch), batch.y, reduction="none")  # noqa: E731
    return mean_gradient_sizes(net, theta, batches, surprise, torch.square)


def mean_gradient_sizes(
    net: nn.Module, theta: Theta, batches: Iterable[Batch], objective: Objective, size: Callable[[Tensor], Tensor]
) -> Tensor:
    """The mean over all examples of size(gradient of that example's objective), [P].

    `size` is torch.square or torch.abs: of a product it must be the product of the sizes.
    """
    total, count = theta.zeros(), 0
    with eval_mode(net):
        for batch in batches:
            factors = linear_factors(net, theta, lambda batch=batch: objective(net, batch).sum(), len(batch.y))
            if factors is None:
                total += single_sizes(net, theta, batch, objective, size)
            else:
                for layer, weight, bias in layer_views(theta, total, factors):
                    inputs, deltas = (size(factor) for factor in factors[layer])
                    if weight is not None:
                        weight.addmm_(deltas.T, inputs)
                    if bias is not None:
                        bias.add_(deltas.sum(0))
            count += len(batch.y)
    return total / count


def single_sizes(
    net: nn.Module, theta: Theta, batch: Batch, objective: Objective, size: Callable[[Tensor], Tensor]
) -> Tensor:
    """The sum over a batch of the sizes of single gradients, [P], for any network."""
    by_vmap, total = gradients_by_vmap(net, theta, objective), theta.zeros()
    views = theta.named(total)
    chunk = max(1, VMAP_BYTES // (4 * total.numel()))
    for x, y, task in zip(*(part.split(chunk) for part in batch), strict=True):
        part = Batch(x, y, task)
        try:
            gradients = None if theta.branches else by_vmap(part)
        except Exception:  # vmap raises RuntimeError, the network whatever it makes of an example that has no numbers
            gradients, theta.branches = None, True
        if gradients is None:
            for single in gradients_one_by_one(net, theta, part, objective):
                for view, gradient in zip(views.values(), single, strict=True):
                    view += size(gradient)
            continue
        for name, each in gradients.items():
            views[name] += size(each).sum(0)
    return total


def gradients_by_vmap(net: nn.Module, theta: Theta, objective: Objective) -> Callable[[Batch], dict[str, Tensor]]:
    """A function that gives the gradients [B, ...] of the examples of a batch, by parameter name."""
    parameters = {name: p.detach() for name, p in theta.parameters.items()}
    buffers = dict(net.named_buffers())

    def value(parameters: dict[str, Tensor], x: Tensor, y: Tensor, task: Tensor) -> Tensor:
        single = Batch(x.unsqueeze(0), y.unsqueeze(0), task.unsqueeze(0))
        call = lambda x: functional_call(net, (parameters, buffers), (x,))  # noqa: E731
        return objective(cast(nn.Module, call), single).sum()  # which calls the network and does nothing else with it

    single_gradients = vmap(grad(value), in_dims=(None, 0, 0, 0))
    return lambda batch: single_gradients(parameters, *batch)


def gradients_one_by_one(
    net: nn.Module, theta: Theta, batch: Batch, objective: Objective
) -> Iterator[tuple[Tensor, ...]]:
    """The gradients of each example for all parameters, one backward pass an example."""
    parameters = list(theta.parameters.values())
    for number in range(len(batch.y)):
        single = Batch(*(part[number : number + 1] for part in batch))
        yield torch.autograd.grad(objective(net, single).sum(), parameters, materialize_grads=True)


def group_gradients(
    net: nn.Module, theta: Theta, batch: Batch, sizes: list[int], logits: Logits, out: Tensor
) -> Tensor:
    """The gradient of the mean cross-entropy of each group of examples, written to `out` [groups, P].

    `batch` holds the groups one behind the other, `sizes` says how many examples each has (at least one).
    """
    weights = torch.cat([torch.full((size,), 1 / size, device=batch.y.device) for size in sizes])
    with eval_mode(net):
        factors = linear_factors(
            net, theta, lambda: F.cross_entropy(logits(net, batch), batch.y, reduction="none") @ weights, len(batch.y)
        )
        if factors is None:
            for row, *parts in zip(out, *(part.split(sizes) for part in batch), strict=True):
                group = Batch(*parts)
                with group_statistics(net) if len(group.y) > 1 else nullcontext():
                    loss = F.cross_entropy(logits(net, group), group.y)
                gradients = torch.autograd.grad(loss, list(theta.parameters.values()), materialize_grads=True)
                for view, gradient in zip(theta.named(row).values(), gradients, strict=True):
                    view.copy_(gradient)
            return out
        for layer, weight, bias in layer_views(theta, out, factors):
            inputs, deltas = (factor.split(sizes) for factor in factors[layer])
            for group in range(len(sizes)):
                if weight is not None:
                    torch.mm(deltas[group].T, inputs[group], out=weight[group])
                if bias is not None:
                    torch.sum(deltas[group], 0, out=bias[group])
    return out


def layer_views(theta: Theta, vector: Tensor, layers: Iterable[nn.Linear]) -> Iterator[tuple]:
    """(layer, view of its weight, view of its bias) in vector [..., P]; None for what is not trained or not there."""
    views = {id(theta.parameters[name]): view for name, view in theta.named(vector).items()}
    for layer in layers:
        yield layer, views.get(id(layer.weight)), views.get(id(layer.bias))
