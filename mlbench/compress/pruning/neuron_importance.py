"""The importance of neurons and channels: scores of the outputs of linear and convolutional layers."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mlbench.compress.base import Context, batches
from mlbench.training.learner import Learner
from mlbench.training.module_hooks import hooked
from mlbench.training.module_modes import eval_mode, unfrozen

Importance = dict[nn.Module, Tensor]  # layer -> score of each of its outputs, [O]
BATCH_SIZE = 100


def outputs(net: nn.Module) -> list[nn.Module]:
    """The linear and convolutional layers, whose outputs are neurons or channels."""
    return [module for module in net.modules() if isinstance(module, nn.Linear | nn.Conv2d)]


def l1(net: nn.Module, context: Context, samples: int) -> Importance:  # noqa: ARG001
    """The L1 norm of a neuron's weights (Li et al. 2017)."""
    return {layer: layer.weight.detach().abs().flatten(1).sum(1) for layer in outputs(net)}


def l2(net: nn.Module, context: Context, samples: int) -> Importance:  # noqa: ARG001
    """The Euclidean norm of a neuron's weights."""
    return {layer: layer.weight.detach().flatten(1).norm(dim=1) for layer in outputs(net)}


def random(net: nn.Module, context: Context, samples: int) -> Importance:  # noqa: ARG001
    """A random number for each neuron: the baseline of every other score."""
    draw = lambda count: torch.rand(count, generator=context.generator)  # noqa: E731
    return {layer: draw(len(layer.weight)).to(layer.weight.device) for layer in outputs(net)}


def bn_scale(net: nn.Module, context: Context, samples: int) -> Importance:
    """|gamma| of the batch norm behind the layer (Liu et al. 2017); the L1 norm where there is none of its width."""
    scores, before = l1(net, context, samples), None
    for module in net.modules():
        norm = isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine
        if module in scores:
            before = module
        elif norm and before is not None and module.num_features == len(before.weight):
            scores[before] = module.weight.detach().abs()
    return scores


def apoz(net: nn.Module, context: Context, samples: int) -> Importance:
    """The share of non-zero activations behind the next ReLU: 1 - APoZ (Hu et al. 2016, eq. 1).

    A ReLU is assigned to all layers of its width that ran since the last ReLU; behind a shortcut these are the two
    whose outputs are added. A layer without a ReLU, such as the output layer, gets the L1 norm of its weights.
    """
    scores, active, pending = l1(net, context, samples), {}, []

    def layer_ran(layer: nn.Module, inputs: object, output: Tensor) -> None:  # noqa: ARG001
        pending.append(layer)

    def relu_ran(relu: nn.Module, inputs: object, output: Tensor) -> None:  # noqa: ARG001
        share = (output > 0).float().transpose(0, 1).flatten(1).mean(1)
        for layer in pending:
            if output.shape[1] == len(layer.weight):
                active[layer] = active.get(layer, 0) + len(output) * share
        pending.clear()

    hooks = [layer.register_forward_hook(layer_ran) for layer in outputs(net)]
    hooks += [m.register_forward_hook(relu_ran) for m in net.modules() if isinstance(m, nn.ReLU)]
    with hooked(hooks), eval_mode(net), torch.no_grad():
        for batch in batches(context.train, samples, BATCH_SIZE, context.generator):
            pending.clear()
            net(batch.x)
    return scores | {layer: total / min(samples, len(context.train)) for layer, total in active.items()}


def taylor(net: nn.Module, context: Context, samples: int) -> Importance:
    """|sum of w g| over a neuron's weights and bias: the change of the loss without it, to first order.

    In front of a ReLU this is |activation * gradient| (Molchanov et al. 2017). It deviates from the paper in two ways:
    the sum over a batch is taken before the absolute value, not after, and the scores are not normalised by layer,
    since only neurons of one layer are compared.
    """
    parameters, learner = {layer: list(layer.parameters()) for layer in outputs(net)}, Learner()
    totals = {layer: torch.zeros(len(layer.weight), device=layer.weight.device) for layer in parameters}
    with eval_mode(net), unfrozen([part for parts in parameters.values() for part in parts]):
        for batch in batches(context.train, samples, BATCH_SIZE, context.generator):
            loss, parts = learner.loss(net, batch), [part for parts in parameters.values() for part in parts]
            gradients = dict(zip(parts, torch.autograd.grad(loss, parts, materialize_grads=True), strict=True))
            for layer, parts in parameters.items():
                change = [(part.detach() * gradients[part]).reshape(len(part), -1).sum(1) for part in parts]
                totals[layer] += torch.stack(change).sum(0).abs()
    return totals


IMPORTANCES: dict[str, Callable[..., Importance]] = {
    "l1": l1,
    "l2": l2,
    "apoz": apoz,
    "taylor": taylor,
    "bn_scale": bn_scale,
    "random": random,
}
