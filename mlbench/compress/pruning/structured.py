"""Structured pruning: neurons and channels are removed, which leaves an ordinary smaller network."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from mlbench.compress.base import Context, Finetuned, Point, batches
from mlbench.compress.pruning.inner_width import inner_pairs, remove
from mlbench.core.errors import UserError, need, require
from mlbench.models.surgery import can_be_described, has_early_exits, note_sizes, replace
from mlbench.training.learner import Learner
from mlbench.training.module_hooks import hooked
from mlbench.training.module_modes import eval_mode, unfrozen
from mlbench.training.per_example_gradients import Looks

INSTANCE_NORMS = nn.modules.instancenorm._InstanceNorm
UPWARDS = (nn.ConvTranspose1d, nn.ConvTranspose2d)  # their own channels stay; their inputs follow the layer before
NORMS = (nn.modules.batchnorm._BatchNorm, INSTANCE_NORMS, nn.GroupNorm, nn.LayerNorm)
FOLLOWED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.PReLU, *UPWARDS, *NORMS)
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


@dataclass
class PruneNeurons(Finetuned):
    """Remove neurons and channels from every layer but the output layer.

    Layers whose outputs are added at a shortcut lose the same channels, by the mean of their scores; torch-pruning's
    dependency graph (Fang et al. 2023) finds them. With half of the channels a quarter of the weights between two
    layers is left. Of networks in which channels cannot be followed, transformers for one, the neurons inside the
    feed-forward blocks are removed (inner_width.py), and all else stays.

    Args:
        fraction: Share of each layer's original neurons or channels that is left at the end.
        rounds: Rounds of pruning and fine-tuning.
        importance: Score of a neuron; the lowest are removed.
        samples: Training examples for the scores.
    """

    fraction: float
    rounds: int
    importance: Literal["l1", "l2", "apoz", "taylor", "bn_scale", "random"]
    samples: int

    def __post_init__(self):
        super().__post_init__()
        require(0 < self.fraction < 1, "fraction", self.fraction, "above 0 and below 1, the share that is left")
        require(self.rounds >= 1, "rounds", self.rounds, "1 or more")
        require(self.samples >= 1, "samples", self.samples, "1 or more")

    def check(self, net: nn.Module) -> None:
        """Raise UserError for early exits, for a network without hidden neurons, and without torch-pruning."""
        if has_early_exits(net):
            raise UserError(
                "compress=prune_neurons: examples leave this network early; prune before compress=early_exit"
            )
        if len(outputs(net)) < 2:
            raise UserError("compress=prune_neurons: the network has no neurons or channels beside its outputs")
        need("torch_pruning", "compress", "compress=prune_neurons")

    def changed(self, net: nn.Module) -> dict[str, nn.Parameter]:
        """All weights; where channels cannot be followed those of layers that widen, and of the ones behind them."""
        every = super().changed(net)
        return {name: every[name] for name in widening(net) if name in every} if unfollowed(net) else every

    def compress(self, dense: Point, context: Context) -> Iterator[Point]:
        """Yield a point after each round."""
        yield from self.inside(dense, context) if unfollowed(dense.net) else self.everywhere(dense, context)

    def inside(self, dense: Point, context: Context) -> Iterator[Point]:
        """Remove inner neurons of pairs of layers."""
        net, x = dense.net.eval(), context.train.batch(context.train.places[:2]).x
        if not (pairs := inner_pairs(net, x)):
            reason = f"channels cannot be followed through {', '.join(unfollowed(net))}"
            raise UserError(f"compress=prune_neurons: {reason}; compress=prune and low_rank take this network")
        counts = {first: len(net.get_submodule(first).weight) for first, _ in pairs}
        for number in range(1, self.rounds + 1):
            scores = IMPORTANCES[self.importance](net, context, self.samples)
            left = 1 - (1 - self.fraction) * number / self.rounds
            for first, second in pairs:
                one, other = net.get_submodule(first), net.get_submodule(second)
                count = max(1, round(counts[first] * left))
                remove(one, other, scores[one].topk(count).indices.sort().values)
            for path in (path for pair in pairs for path in pair):
                replace(net, path, net.get_submodule(path))  # these alone: other layers may share their weights
            net = self.finetune(net, context, f"{left:.3g} of the inner neurons")
            yield Point(f"prune_neurons {left:.3g}", net, dense.entropy, dense.blueprint)

    def everywhere(self, dense: Point, context: Context) -> Iterator[Point]:
        """Remove channels wherever torch-pruning follows them to."""
        from torch_pruning import BasePruner

        net = dense.net.eval()
        learns = {name: parameter.requires_grad for name, parameter in net.named_parameters()}
        before = odd_shapes(net)
        example = torch.zeros(2, *context.input_shape, device=context.train.labels.device)
        check_reached(net, example)
        scores: Importance = {}
        with unfrozen(list(net.parameters())):  # torch-pruning follows gradients through the network
            upwards = [module for module in net.modules() if isinstance(module, UPWARDS)]
            pruner = BasePruner(
                net,
                example,
                importance=lambda group: group_score(group, scores),
                pruning_ratio_dict={layer: self.pruning_ratio(len(layer.weight)) for layer in outputs(net)},
                iterative_steps=self.rounds,
                ignored_layers=[*output_layers(net, example), *upwards],
            )
        for number in range(1, self.rounds + 1):
            scores.clear()
            scores.update(IMPORTANCES[self.importance](net, context, self.samples))
            pruner.step()
            for name, parameter in net.named_parameters():
                parameter.requires_grad_(learns[name])
            note_sizes(net, [path for path, shapes in odd_shapes(net).items() if shapes != before[path]])
            left = 1 - (1 - self.fraction) * number / self.rounds
            net = self.finetune(net, context, f"{left:.3g} of the channels")
            yield Point(f"prune_neurons {left:.3g}", net, dense.entropy, dense.blueprint)

    def pruning_ratio(self, count: int) -> float:
        """The pruning ratio of a layer with `count` channels, such that at least one is left.

        torch-pruning keeps int(count * (1 - ratio)) channels: with ratio 0.9, 10 * (1 - 0.9) is 0.9999 and becomes 0,
        and a layer that would lose every channel is not pruned at all. Adding half a channel avoids both.
        """
        return 1 - (max(1, round(count * self.fraction)) + 0.5) / count


def widening(net: nn.Module) -> list[str]:
    """Names of the weights of layers that give more numbers than they take, and of those that take these."""
    layers = [(path, module) for path, module in net.named_modules() if module in set(outputs(net))]
    wide = [
        (first, second)
        for (first, one), (second, other) in pairwise(layers)
        if one.weight.shape[1] < len(one.weight) == other.weight.shape[1]
    ]
    return [f"{path}.weight" for pair in wide for path in pair]


def unfollowed(net: nn.Module) -> list[str]:
    """The kinds of layers with parameters through which torch-pruning does not follow channels, or does so wrongly."""
    kinds = {}
    for module in net.modules():
        own = any(p.numel() > 1 for p in module.parameters(recurse=False))
        double = isinstance(module, INSTANCE_NORMS) and module.track_running_stats  # cut twice
        if own and (double or not isinstance(module, FOLLOWED)):
            kinds[type(module).__name__] = None
    return list(kinds)


@torch.no_grad()
def check_reached(net: nn.Module, example: Tensor) -> None:
    """Raise UserError where numbers decide which layers an example passes: channels are followed along one way only."""
    layers = {module: path for path, module in net.named_modules() if module in set(outputs(net))}
    left = dict(layers)

    def reached(layer: nn.Module, inputs: object, output: object) -> None:  # noqa: ARG001
        left.pop(layer, None)

    hooks = [layer.register_forward_hook(reached) for layer in layers]
    with hooked(hooks), Looks() as looks:
        net(example)
    if left and looks.found:
        reason = f"not every example passes {', '.join(left.values())}, so channels cannot be followed"
        raise UserError(f"compress=prune_neurons: {reason}; compress=prune and low_rank take this network")


def odd_shapes(net: nn.Module) -> dict[str, list[torch.Size]]:
    """Path -> shapes of the parameters, for layers of classes that surgery knows nothing else of."""
    return {
        path: [parameter.shape for parameter in module.parameters(recurse=False)]
        for path, module in net.named_modules()
        if not can_be_described(module) and any(True for _ in module.parameters(recurse=False))
    }


def output_layers(net: nn.Module, example: Tensor) -> list[nn.Module]:
    """The layers whose outputs no other layer takes in, so that they are the network's own, wherever they stand."""
    from torch_pruning import DependencyGraph

    graph, layers = DependencyGraph().build_dependency(net, example), set(outputs(net))
    ends = []
    for group in graph.get_all_groups():
        members = [(item.dep.target.module, item.dep.handler.__name__) for item in group]
        if not any(module in layers and handler == "prune_in_channels" for module, handler in members):
            ends += [module for module, _ in members if module in layers]
    return ends


def group_score(group: list, scores: Importance) -> Tensor:
    """The mean score of each channel, [O], over the layers of a torch-pruning group that produce it."""
    layers = []
    for dependency, index in group:
        layer = dependency.target.module
        if layer in scores and dependency.handler.__name__ == "prune_out_channels":
            layers.append(scores[layer][index])
    return torch.stack(layers).mean(0)
