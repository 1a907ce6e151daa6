"""Pruning neurons and channels: the network becomes an ordinary smaller one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from mlbench.compress.base import Finetuned, Point, Workbench, batches
from mlbench.core.errors import UserError, need, require
from mlbench.data.modality import Pictures, Spectrograms, Tables
from mlbench.models.surgery import can_be_left, note_sizes
from mlbench.training.learner import Learner
from mlbench.training.module_hooks import hooked
from mlbench.training.module_modes import eval_mode

Importance = dict[nn.Module, Tensor]  # layer -> score of each of its outputs
BATCH = 100


def outputs(net: nn.Module) -> list[nn.Module]:
    """The layers whose outputs are neurons or channels."""
    return [module for module in net.modules() if isinstance(module, nn.Linear | nn.Conv2d)]


def l1(net: nn.Module, bench: Workbench, samples: int) -> Importance:  # noqa: ARG001
    """The sum of |w| over a neuron's weights (Li et al. 2017)."""
    return {layer: layer.weight.detach().abs().flatten(1).sum(1) for layer in outputs(net)}


def l2(net: nn.Module, bench: Workbench, samples: int) -> Importance:  # noqa: ARG001
    """The Euclidean norm of a neuron's weights."""
    return {layer: layer.weight.detach().flatten(1).norm(dim=1) for layer in outputs(net)}


def random(net: nn.Module, bench: Workbench, samples: int) -> Importance:  # noqa: ARG001
    """A number drawn for each: what any other importance must beat."""
    draw = lambda count: torch.rand(count, generator=bench.generator)  # noqa: E731
    return {layer: draw(len(layer.weight)).to(layer.weight.device) for layer in outputs(net)}


def bn_scale(net: nn.Module, bench: Workbench, samples: int) -> Importance:
    """|gamma| of the batch norm that follows (Liu et al. 2017); l1 for a layer that none of its width follows."""
    found, before = l1(net, bench, samples), None
    for module in net.modules():
        norm = isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine
        if module in found:
            before = module
        elif norm and before is not None and module.num_features == len(before.weight):
            found[before] = module.weight.detach().abs()
    return found


def apoz(net: nn.Module, bench: Workbench, samples: int) -> Importance:
    """The share of non-zero activations behind the next ReLU: 1 - APoZ (Hu et al. 2016, eq. 1).

    A ReLU answers for all layers since the last one that have its width: behind a shortcut, for both that are added up.
    A layer that none answers for (the output layer) gets its l1 norm.
    """
    found, active, waiting = l1(net, bench, samples), {}, []

    def layer_ran(layer: nn.Module, inputs: object, output: Tensor) -> None:  # noqa: ARG001
        waiting.append(layer)

    def relu_ran(relu: nn.Module, inputs: object, output: Tensor) -> None:  # noqa: ARG001
        share = (output > 0).float().transpose(0, 1).flatten(1).mean(1)
        for layer in waiting:
            if output.shape[1] == len(layer.weight):
                active[layer] = active.get(layer, 0) + len(output) * share
        waiting.clear()

    hooks = [layer.register_forward_hook(layer_ran) for layer in outputs(net)]
    hooks += [m.register_forward_hook(relu_ran) for m in net.modules() if isinstance(m, nn.ReLU)]
    with hooked(hooks), eval_mode(net), torch.no_grad():
        for batch in batches(bench.train, samples, BATCH, bench.generator):
            waiting.clear()
            net(batch.x)
    return found | {layer: total / min(samples, len(bench.train)) for layer, total in active.items()}


def taylor(net: nn.Module, bench: Workbench, samples: int) -> Importance:
    """|sum of w g| over a neuron's weights and bias: to first order, how much the loss changes without it.

    Before a ReLU that is |activation * gradient| (Molchanov et al. 2017), here summed over the examples of a batch
    before the absolute value is taken, not after, and not normalised: only neurons of one layer are compared.
    """
    owned, learner = {layer: list(layer.parameters()) for layer in outputs(net)}, Learner()
    totals = {layer: torch.zeros(len(layer.weight), device=layer.weight.device) for layer in owned}
    with eval_mode(net):
        for batch in batches(bench.train, samples, BATCH, bench.generator):
            loss, parts = learner.loss(net, batch), [part for parts in owned.values() for part in parts]
            gradients = dict(zip(parts, torch.autograd.grad(loss, parts, materialize_grads=True), strict=True))
            for layer, parts in owned.items():
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


@dataclass
class PruneNeurons(Finetuned):
    """Leaves a `fraction` of the neurons or channels of every layer but the output's, in `rounds` rounds.

    Layers that must agree (behind a shortcut) lose the same channels, which torch-pruning's dependency graph
    (Fang et al. 2023) finds; their scores are averaged. Half of the channels is a quarter of the weights between them.
    """

    # torch-pruning follows numbers through the network, and word pieces are looked up
    modalities = (Pictures, Spectrograms, Tables)

    fraction: float  # of each layer's original ones that is left
    rounds: int
    importance: Literal["l1", "l2", "apoz", "taylor", "bn_scale", "random"]
    samples: int  # training examples that importances are computed from

    def __post_init__(self):
        super().__post_init__()
        require(0 < self.fraction < 1, "fraction", self.fraction, "above 0 and below 1, the share that is left")
        require(self.rounds >= 1, "rounds", self.rounds, "1 or more")
        require(self.samples >= 1, "samples", self.samples, "1 or more")

    def check(self, net: nn.Module) -> None:
        """torch-pruning must be there, something to prune, and a way through for every example. Raises UserError."""
        if can_be_left(net):
            raise UserError(
                "compress=prune_neurons: examples leave this network early; prune before compress=early_exit"
            )
        if len(outputs(net)) < 2:
            raise UserError("compress=prune_neurons: the network has no neurons or channels beside its outputs")
        need("torch_pruning", "compress", "compress=prune_neurons")

    def compress(self, dense: Point, bench: Workbench) -> Iterator[Point]:
        """A point after each round."""
        from torch_pruning import BasePruner

        net = dense.net.eval()
        example = torch.zeros(2, *bench.input_shape, device=bench.train.labels.device)
        scores: Importance = {}
        pruner = BasePruner(
            net,
            example,
            importance=lambda group: group_score(group, scores),
            pruning_ratio_dict={layer: self.removed(len(layer.weight)) for layer in outputs(net)},
            iterative_steps=self.rounds,
            ignored_layers=unread(net, example),
        )
        for number in range(1, self.rounds + 1):
            scores.clear()
            scores.update(IMPORTANCES[self.importance](net, bench, self.samples))
            pruner.step()
            note_sizes(net)
            left = 1 - (1 - self.fraction) * number / self.rounds
            net = self.finetune(net, bench, f"{left:.3g} of the channels")
            yield Point(f"prune_neurons {left:.3g}", net, dense.entropy, dense.blueprint)

    def removed(self, count: int) -> float:
        """The share of `count` channels to remove, such that at least one stays.

        torch-pruning keeps int(count * (1 - share)), where 10 * (1 - 0.9) is 0.9999 and so 0, and leaves a layer
        alone that would lose everything. Half a channel more makes the number come out.
        """
        return 1 - (max(1, round(count * self.fraction)) + 0.5) / count


def unread(net: nn.Module, example: Tensor) -> list[nn.Module]:
    """The layers whose outputs no layer takes in: those are the network's, wherever they stand in it."""
    from torch_pruning import DependencyGraph

    graph, layers = DependencyGraph().build_dependency(net, example), set(outputs(net))
    found = []
    for group in graph.get_all_groups():
        members = [(item.dep.target.module, item.dep.handler.__name__) for item in group]
        if not any(module in layers and handler == "prune_in_channels" for module, handler in members):
            found += [module for module, _ in members if module in layers]
    return found


def group_score(group: list, scores: Importance) -> Tensor:
    """The mean score of each channel over the layers of a group that produce it."""
    found = []
    for dependency, index in group:
        layer = dependency.target.module
        if layer in scores and dependency.handler.__name__ == "prune_out_channels":
            found.append(scores[layer][index])
    return torch.stack(found).mean(0)
